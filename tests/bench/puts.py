"""CPU of the client's process for one S3 put, ours beside others (deploy/decisions/0044-s3-puts.md).

    python -m tests.bench.puts

Others are boto3, botocore's signer over urllib3 with nothing around it, and obstore where it is installed.
"""

import hashlib
import importlib
import importlib.util
import io
import multiprocessing
import os
import resource
import statistics
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import boto3
import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests import s3
from worker.archive.puts import base64_of
from worker.archive.s3 import S3Archive

#: bytes of a body, and puts of such
_LOADS = {100: 2000, 20_000: 2000, 2_000_000: 300}
_RUNS = 3
_TYPE, _NAME, _SHOWN = "image/png", "a-red-fox-0.png", 'inline; filename="a-red-fox-0.png"'
_METADATA = {"generation-id": "gen_01jd0000000000000000000000", "provider": "acedata", "prompt": "a red fox"}
_TAGS = {"batch": "foxes", "model": "v7"}
_TAGGING = "batch=foxes&model=v7"

Put = Callable[[str], object]


def _ours(endpoint: str, body: bytes, sha256: str) -> Put:
    archive = S3Archive(s3.BUCKET)
    facts: Any = {"sha256": sha256, "size": len(body), "content_type": _TYPE}
    facts |= {"metadata": _METADATA, "filename": _NAME, "tags": _TAGS}
    return lambda key: archive.store(key, io.BytesIO(body), **facts)


def _boto3(endpoint: str, body: bytes, sha256: str) -> Put:
    facts: Any = {"Bucket": s3.BUCKET, "ContentType": _TYPE, "ContentDisposition": _SHOWN, "IfNoneMatch": "*"}
    facts |= {"Metadata": {**_METADATA, "sha256": sha256}, "Tagging": _TAGGING, "ChecksumSHA256": base64_of(sha256)}
    client = boto3.client("s3", endpoint_url=endpoint)
    return lambda key: client.put_object(Key=key, Body=io.BytesIO(body), **facts)


def _signer(endpoint: str, body: bytes, sha256: str) -> Put:
    http, credentials = urllib3.PoolManager(), Credentials(s3.ACCESS_KEY, s3.SECRET_KEY)
    headers = {f"x-amz-meta-{name}": value for name, value in {**_METADATA, "sha256": sha256}.items()}
    headers |= {"Content-Type": _TYPE, "Content-Disposition": _SHOWN, "Content-Length": str(len(body))}
    headers |= {"x-amz-tagging": _TAGGING, "x-amz-checksum-sha256": base64_of(sha256), "If-None-Match": "*"}

    class Known(S3SigV4Auth):
        def payload(self, request: AWSRequest) -> str:
            return sha256

    def put(key: str) -> None:
        request = AWSRequest("PUT", f"{endpoint}/{s3.BUCKET}/{key}", headers=headers)
        Known(credentials, "s3", "us-east-1").add_auth(request)
        sent: Any = {"headers": dict(request.headers.items()), "body": io.BytesIO(body), "retries": False}
        response = http.urlopen("PUT", str(request.url), **sent)
        assert response.status == 200, response.data

    return put


def _obstore(endpoint: str, body: bytes, sha256: str) -> Put:
    obstore, stores = importlib.import_module("obstore"), importlib.import_module("obstore.store")
    options = {"checksum_algorithm": "SHA256", "client_options": {"allow_http": True}, "region": "us-east-1"}
    store = stores.S3Store(s3.BUCKET, endpoint=endpoint, **options)
    about = {"Content-Type": _TYPE, "Content-Disposition": _SHOWN, **_METADATA, "sha256": sha256}
    facts = {"attributes": about, "tags": _TAGS, "mode": "create", "use_multipart": False}
    return lambda key: obstore.put(store, key, body, **facts)


def _measure(way: Callable[[str, bytes, str], Put], endpoint: str, size: int, folder: str, found: Connection) -> None:
    body = os.urandom(size)
    put = way(endpoint, body, hashlib.sha256(body).hexdigest())
    # Connections, imports and caches.
    for number in range(20):
        put(f"{folder}/first-{number}.png")
    before = resource.getrusage(resource.RUSAGE_SELF)
    for number in range(_LOADS[size]):
        put(f"{folder}/{number}.png")
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found.send(seconds / _LOADS[size] * 1e6)


def main() -> None:
    ways = {"ours": _ours, "botocore's signer": _signer, "boto3": _boto3}
    if importlib.util.find_spec("obstore"):
        ways["obstore"] = _obstore
    # obstore hangs in a child if its parent has used it; each way has a child of its own.
    fork = multiprocessing.get_context("fork")
    for size in _LOADS:
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(_RUNS):
            with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as home, s3.rclone_server(Path(home)) as server:
                os.environ |= s3.bucket_of(server)
                for name, way in ways.items():
                    here, there = fork.Pipe()
                    child = fork.Process(target=_measure, args=(way, server.endpoint, size, way.__name__, there))
                    child.start()
                    there.close()
                    taken[name].append(here.recv())
                    child.join()
        for name, times in taken.items():
            ratio = statistics.median(one / ours for one, ours in zip(times, taken["ours"], strict=True))
            print(f"{size:>9,} B  {name:<18} {statistics.median(times):6,.0f} µs  {ratio:.2f} of ours", flush=True)


if __name__ == "__main__":
    main()
