"""Two S3 servers on loopback: rclone, which checks signatures, and moto, which honours conditions."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.left_open import lives_on
from tests.s3 import BUCKET, Server, boto3_client, only_test_servers
from worker.archive import Keeping, Keys
from worker.archive.s3 import S3Archive


@pytest.fixture(autouse=True)
def aws_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    only_test_servers(monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    with lives_on():
        server.start()
        host, port = server.get_host_and_port()
    found = Server("moto", f"http://{host}:{port}")
    with closing(archive_of(found, tmp_path_factory.mktemp("home"))) as archive:
        boto3_client(archive).create_bucket(Bucket=BUCKET)
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


@pytest.fixture(scope="module")
def archive(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Archive]:
    """The server's archive, one for all tests as it is one for all of a process."""
    with closing(archive_of(server, tmp_path_factory.mktemp("home"))) as archive:
        yield archive


@pytest.fixture
def open_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., S3Archive]]:
    """Make an archive as a process does: its server named by the environment."""
    with ExitStack() as opened:

        def open_archive(endpoint: str, bucket: str = BUCKET, keeping: Keeping | None = None) -> S3Archive:
            monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
            return opened.enter_context(closing(S3Archive(bucket, Keys(), keeping)))

        yield open_archive
