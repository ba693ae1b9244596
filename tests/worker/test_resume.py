"""A transfer that breaks goes on where it stopped, where the server can; never with bytes of another version."""

import hashlib
import os
import re
from collections.abc import Iterable

import pytest

from tests.worker.test_download import fetch, link, new_downloader, serving
from worker.errors import ContentInvalid, LinkDead

BODY = os.urandom(300_000)
WHOLE = len(BODY)


class Breaking:
    """Serves `BODY` and ends the connection after each `step` bytes; `tags`: the version at each request."""

    def __init__(self, step: int, tags: tuple[str, ...] = ('"v1"',), ranges: str = "bytes") -> None:
        self.step = step
        self.tags = list(tags)
        self.ranges = ranges

    def __call__(self, request: bytes) -> Iterable[bytes]:
        tag = self.tags.pop(0) if len(self.tags) > 1 else self.tags[0]
        headers = f"Accept-Ranges: {self.ranges}\r\nETag: {tag}\r\n"
        asked = re.search(rb"Range: bytes=(\d+)-", request)
        same = re.search(rb"If-Range: (\S+)", request)
        if asked and same and same[1].decode() == tag:
            start = int(asked[1])
            status = f"206 Partial Content\r\nContent-Range: bytes {start}-{WHOLE - 1}/{WHOLE}"
        else:
            start, status = 0, "200 OK"
        yield f"HTTP/1.1 {status}\r\nContent-Length: {WHOLE - start}\r\n{headers}\r\n".encode()
        yield BODY[start : start + self.step]


def ranges(server) -> list[str]:
    found = (re.search(rb"Range: bytes=(\d+)-", request) for request in server.requests)
    return [match[1].decode() if match else "" for match in found]


def test_a_broken_transfer_goes_on_where_it_stopped():
    with serving(Breaking(100_000)) as server, new_downloader() as downloader:
        assert fetch(downloader, link(server)) == BODY
        assert ranges(server) == ["", "100000", "200000"]


def test_the_hash_is_that_of_the_whole_file():
    with (
        serving(Breaking(200_000)) as server,
        new_downloader() as downloader,
        downloader.fetch(link(server), ()) as resumed,
    ):
        assert (resumed.sha256, resumed.bytes) == (hashlib.sha256(BODY).hexdigest(), WHOLE)


def test_another_version_begins_anew():
    with serving(Breaking(200_000, ('"v1"', '"v2"', '"v2"'))) as server, new_downloader() as downloader:
        assert fetch(downloader, link(server)) == BODY
        assert ranges(server) == ["", "200000", "200000"]


@pytest.mark.parametrize(
    "server", [Breaking(200_000, ('W/"weak"',)), Breaking(200_000, ("",)), Breaking(200_000, ranges="none")]
)
def test_without_a_strong_version_or_ranges_half_a_file_is_refused(server: Breaking):
    with (
        serving(server) as running,
        new_downloader() as downloader,
        pytest.raises(ContentInvalid, match="truncated: "),
    ):
        fetch(downloader, link(running))
    assert ranges(running) == [""]


def test_one_that_breaks_again_and_again_is_given_up():
    with (
        serving(Breaking(10_000)) as server,
        new_downloader() as downloader,
        pytest.raises(ContentInvalid, match="truncated 4 times"),
    ):
        fetch(downloader, link(server))
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "content_range",
    [f"bytes 5-{WHOLE - 1}/{WHOLE}", f"bytes 100000-{WHOLE - 1}/999", "bytes */300000", "", "bytes 1e5-2/3"],
)
def test_a_rest_that_does_not_fit_is_refused(content_range: str):
    def answer(request: bytes) -> Iterable[bytes]:
        if b"Range:" in request:
            yield f"HTTP/1.1 206 Partial\r\nContent-Range: {content_range}\r\nContent-Length: 200000\r\n\r\n".encode()
            yield BODY[100_000:]
        else:
            yield f'HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\nAccept-Ranges: bytes\r\nETag: "v1"\r\n\r\n'.encode()
            yield BODY[:100_000]

    with (
        serving(answer) as server,
        new_downloader() as downloader,
        pytest.raises(ContentInvalid, match="goes on with another part"),
    ):
        fetch(downloader, link(server))


def test_a_link_that_dies_in_the_middle_is_dead():
    def answer(request: bytes) -> Iterable[bytes]:
        if b"Range:" in request:
            yield b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        else:
            yield f'HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\nAccept-Ranges: bytes\r\nETag: "v1"\r\n\r\n'.encode()
            yield BODY[:100_000]

    with serving(answer) as server, new_downloader() as downloader, pytest.raises(LinkDead, match="HTTP 403"):
        fetch(downloader, link(server))
