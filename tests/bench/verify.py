"""P9: `darkroom verify` over 10,000 small results, one of them with a flipped bit and one missing."""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import psutil

from tests import s3
from tests.kept import kept
from worker.archive import Keys
from worker.archive.s3 import S3Archive
from worker.ledger import Ledger
from worker.ledger.migrations import upgrade

COUNT = 10_000
_ENTRY = "from tasks.cli import main; main()"


def run() -> dict[str, float]:
    """Seconds of the command, of the same reads alone, and the largest memory (RSS, MB) it had.

    Raises SystemExit if it finds anything but what was broken.
    """
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder, s3.rclone_server(Path(folder)) as server:
        os.environ |= {
            "AWS_ENDPOINT_URL": server.endpoint,
            # One that a bench before this has set would win over the line above.
            "AWS_ENDPOINT_URL_S3": server.endpoint,
            "AWS_ACCESS_KEY_ID": s3.ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": s3.SECRET_KEY,
            "S3_BUCKET": s3.BUCKET,
            "S3_PREFIX": "bench",
            "DARKROOM_DATA": folder,
        }
        archive = S3Archive(s3.BUCKET, Keys("bench"))
        with _ledger(Path(folder)) as ledger:
            assets = kept(ledger, archive, COUNT, batch="bench")
        keys = [str(asset.object_key) for asset in assets]
        started = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda asset: archive.verify(str(asset.object_key), str(asset.sha256)), assets))
        alone = time.perf_counter() - started
        with archive.read(keys[4321]) as pieces:
            content = bytearray(b"".join(pieces))
        content[len(content) // 2] ^= 1
        s3.boto3_client(archive).put_object(Bucket=s3.BUCKET, Key=keys[4321], Body=bytes(content))
        s3.boto3_client(archive).delete_object(Bucket=s3.BUCKET, Key=keys[8765])
        started = time.perf_counter()
        found, memory = _verify()
        seconds = time.perf_counter() - started
    expected = {"checked": COUNT, "missing": [keys[8765]], "changed": [keys[4321]], "orphaned": []}
    if {name: found[name] for name in expected} != expected:
        raise SystemExit(f"verify found something else: {json.dumps(found)[:2000]}")
    return {"seconds": seconds, "alone": alone, "memory": memory}


@contextmanager
def _ledger(folder: Path) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{folder}/ledger.sqlite3")
    upgrade(ledger.database)
    try:
        yield ledger
    finally:
        ledger.close()


def _verify() -> tuple[dict[str, object], float]:
    largest = 0
    with Popen([sys.executable, "-c", _ENTRY, "verify", "--json"], stdout=PIPE) as command:
        process = psutil.Process(command.pid)
        while command.poll() is None:
            largest = max(largest, process.memory_info().rss)
            time.sleep(0.05)
        assert command.stdout is not None
        return json.load(command.stdout), largest / 1e6
