"""A store whose answer drips in holds nobody for ever, whatever it was asked for: no answer here ends by itself."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.archive.storing import PIXELS, store
from tests.worker.providers.loopback import Behaviour, Loopback, drip, drip_header
from tests.worker.providers.test_http import tls_server
from worker.archive import client
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError, ConfigurationError


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_READ_TIMEOUT", 0.2)
    monkeypatch.setattr(client._StoreConnection, "body_timeout", 0.2)
    monkeypatch.setattr("worker.archive.signed_requests.time.sleep", lambda seconds: None)


@pytest.mark.parametrize(
    ("ask", "behaviour"),
    [
        (lambda archive: store(archive, "0.png"), drip_header),
        (lambda archive: store(archive, "0.png"), drip),
        (lambda archive: archive.verify("0.png", "00"), drip_header),
        (lambda archive: archive.verify("0.png", "00"), drip),
        (lambda archive: archive.delete("0.png", "00"), drip_header),
        (lambda archive: list(archive.list("")), drip_header),
        (lambda archive: list(archive.list("")), drip),
        (lambda archive: archive.check(), drip_header),
    ],
)
def test_every_question_ends_in_time(
    open_at: Callable[..., S3Archive], ask: Callable[[S3Archive], object], behaviour: Behaviour
):
    with Loopback(behaviour) as server:
        archive = open_at(server.url)
        try:
            with pytest.raises((ArchiveError, ConfigurationError)):
                ask(archive)
        finally:
            archive.close()


def test_the_same_holds_over_tls(open_at: Callable[..., S3Archive], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with Loopback(drip_header, tls=tls_server(tmp_path)) as server:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
        archive = open_at(server.url)
        with pytest.raises(ArchiveError, match="ReadTimeoutError"):
            store(archive, "0.png")
        archive.close()


def test_a_proxy_that_drips_its_answer_to_connect_is_given_up(
    open_at: Callable[..., S3Archive], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(client, "_CONNECT_TIMEOUT", 0.2)
    with Loopback(drip_header) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        archive = open_at("https://s3.example.invalid")
        with pytest.raises(ArchiveError, match="is unreachable"):
            store(archive, "0.png")
        archive.close()


def test_a_large_object_may_take_long_as_long_as_it_comes(open_at: Callable[..., S3Archive]):
    def steady(server: Loopback, connection) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(PIXELS) * 64))
        for _ in range(8):
            server.stopping.wait(0.06)
            connection.sendall(PIXELS * 8)

    with Loopback(steady) as server:
        archive = open_at(server.url)
        with archive.read("film.mp4") as pieces:
            assert b"".join(pieces) == PIXELS * 64
        archive.close()
