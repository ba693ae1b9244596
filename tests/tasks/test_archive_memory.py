"""Films of 50 MB go through a worker, not into its memory."""

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.factories import claimed
from tests.patience import patient
from tests.pipeline import Pipeline, starting
from tests.s3 import Server
from tests.serving import HttpServer, at_work
from tests.worker.media.films import sandbox_film
from worker.generation import AssetKind, Link, Outcome, State, Status
from worker.ledger.outcome import News

MEGABYTE = 1024 * 1024
#: a real film, and a box of the kind that players skip
FILM = sandbox_film()
PADDING = 50 * MEGABYTE
FILMS = 10

#: archives everything in a process of its own, as a pool process does; its memory before, and at most meanwhile
WORKER = """
import json, re
from pathlib import Path
from tasks import long_downloads
from tasks.archive import archive
from tests.patience import patient
from worker.media import decoding
from worker.services import services

def memory(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

long_downloads.SLICE = patient(60)
decoding._decoder._limits = decoding.Limits(wall=patient(20))
here = services()
here.ledger.maintenance.ping()
here.archive.check()
here.downloader
idle = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
archive()
print(json.dumps({"idle": idle, "peak": memory("VmHWM")}))
"""


class _Films(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(FILM) + PADDING))
        self.end_headers()
        self.wfile.write(FILM + struct.pack(">I4s", PADDING, b"free"))
        for _ in range(PADDING // MEGABYTE - 1):
            self.wfile.write(bytes(MEGABYTE))
        self.wfile.write(bytes(MEGABYTE - 8))

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 - the base class calls it so
        pass


@contextmanager
def films() -> Iterator[str]:
    with at_work(HttpServer(("127.0.0.1", 0), _Films)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: Server, tmp_path: Path) -> Iterator[Pipeline]:
    with starting(monkeypatch, sqlite_url, rclone, tmp_path) as start:
        yield start()


@pytest.mark.processes
def test_a_worker_that_archives_films_of_50_mb_stays_within_40_mb_of_its_idle_memory(pipeline: Pipeline) -> None:
    claims = claimed(pipeline.ledger, FILMS)
    deadline = pipeline.clock() + timedelta(days=1)
    with films() as server:
        pipeline.ledger.generations.apply_outcomes(
            [
                News(
                    attempt_id=claim.attempt_id,
                    outcome=Outcome(
                        status=Status.SUCCEEDED,
                        task_id=f"t{number}",
                        links=(Link(f"{server}/{number}.mp4", AssetKind.VIDEO),),
                    ),
                    cause="callback",
                    deadlines=(deadline,),
                )
                for number, claim in enumerate(claims)
            ]
        )
        done = subprocess.run(
            [sys.executable, "-c", WORKER], capture_output=True, text=True, timeout=patient(100), check=False
        )

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert {pipeline.get(claim.generation.id).state for claim in claims} == {State.ARCHIVED}
    assert said["peak"] - said["idle"] < 40 * MEGABYTE, said
