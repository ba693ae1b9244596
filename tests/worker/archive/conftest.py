"""Two S3 servers on loopback: rclone, which checks signatures, and moto, which honours conditions."""

import os
import re
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from worker.archive.s3 import S3Archive

BUCKET = "photos"
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "example-secret"


@dataclass(frozen=True)
class Server:
    name: str
    endpoint: str
    #: where rclone keeps its buckets
    folder: Path | None = None


def only_test_servers(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Credentials of the test servers, and nothing of the machine that the tests run on."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy") or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    only_test_servers(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    binary = shutil.which("rclone", path=sysconfig.get_path("scripts")) or shutil.which("rclone")
    if binary is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no rclone: install the extra `embedded`")
    home = tmp_path_factory.mktemp("rclone")
    folder = home / "buckets"
    (folder / BUCKET).mkdir(parents=True)
    log = home / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [binary, "serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}", "--addr", "127.0.0.1:0", str(folder)],
            env={"HOME": str(home)},
            stdout=output,
            stderr=output,
        )
    try:
        yield Server("rclone", _address(log, process), folder)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        time.sleep(0.02)
    pytest.fail(f"rclone did not start: {log.read_text()}")


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    found = Server("moto", f"http://{host}:{port}")
    archive_of(found, tmp_path_factory.mktemp("home"))._client.create_bucket(Bucket=BUCKET)
    try:
        yield found
    finally:
        server.stop()


def archive_of(server: Server, home: Path) -> S3Archive:
    with pytest.MonkeyPatch.context() as monkeypatch:
        only_test_servers(monkeypatch, home)
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        return S3Archive(BUCKET)


@pytest.fixture(scope="session", params=["rclone", "moto"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def archive(server: Server, tmp_path_factory: pytest.TempPathFactory) -> S3Archive:
    """The server's archive, one for all tests as it is one for all of a process."""
    return archive_of(server, tmp_path_factory.mktemp("home"))


@pytest.fixture
def open_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., S3Archive]:
    """Make an archive as a process does: its server named by the environment."""

    def open_archive(endpoint: str, bucket: str = BUCKET, prefix: str = "") -> S3Archive:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        return S3Archive(bucket, prefix)

    return open_archive
