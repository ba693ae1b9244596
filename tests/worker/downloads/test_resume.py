"""A transfer that breaks goes on where it stopped, where the server can; never with bytes of another version."""

import hashlib
import os
import re
import threading
from collections.abc import Iterable

import pytest

from tests.patience import patient
from tests.worker.downloads.test_download import fetch, link, new_downloader, serving
from worker.downloads import parked
from worker.downloads.download import Downloader
from worker.downloads.transfer import Transfer
from worker.errors import ContentInvalid, DownloadError, LinkDead, SetDown

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
        pytest.raises(DownloadError, match="truncated 4 times"),
    ):
        fetch(downloader, link(server))
    assert len(server.requests) == 4


def test_the_next_try_goes_on_where_the_last_one_was_given_up():
    with serving(Breaking(50_000)) as server, new_downloader() as downloader:
        with pytest.raises(DownloadError, match="resuming from there"):
            fetch(downloader, link(server))
        assert fetch(downloader, link(server)) == BODY
        assert ranges(server) == ["", "50000", "100000", "150000", "200000", "250000"]


REST = f"bytes 100000-{WHOLE - 1}/{WHOLE}"


@pytest.mark.parametrize(
    ("content_range", "tag"),
    [
        *((wrong, 'ETag: "v1"') for wrong in (f"bytes 5-{WHOLE - 1}/{WHOLE}", f"bytes 100000-{WHOLE - 1}/999", "")),
        *((wrong, 'ETag: "v1"') for wrong in ("bytes */300000", "bytes 1e5-2/3")),
        *((REST, wrong) for wrong in ('ETag: "v2"', 'ETag: W/"v1"', "X: y")),
    ],
)
def test_a_rest_of_another_place_or_version_is_not_taken_and_it_begins_anew(content_range: str, tag: str):
    """Also where the server ignores If-Range."""
    other = os.urandom(200_000)
    asked = []

    def answer(request: bytes) -> Iterable[bytes]:
        asked.append(b"Range:" in request)
        if asked[-1]:
            headers = f"Content-Range: {content_range}\r\nContent-Length: 200000\r\n{tag}"
            yield f"HTTP/1.1 206 Partial\r\n{headers}\r\n\r\n".encode()
            yield other
        else:
            yield f'HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\nAccept-Ranges: bytes\r\nETag: "v1"\r\n\r\n'.encode()
            yield BODY if len(asked) > 1 else BODY[:100_000]

    with serving(answer) as server, new_downloader() as downloader:
        assert fetch(downloader, link(server)) == BODY
    assert asked == [False, True, False]


def test_a_server_that_has_no_such_rest_is_asked_for_the_whole():
    asked = []

    def answer(request: bytes) -> Iterable[bytes]:
        asked.append(b"Range:" in request)
        if asked[-1]:
            yield b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n"
        else:
            yield f'HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\nAccept-Ranges: bytes\r\nETag: "v1"\r\n\r\n'.encode()
            yield BODY if len(asked) > 1 else BODY[:100_000]

    with serving(answer) as server, new_downloader() as downloader:
        assert fetch(downloader, link(server)) == BODY
    assert asked == [False, True, False]


def test_a_link_that_dies_in_the_middle_is_dead():
    def answer(request: bytes) -> Iterable[bytes]:
        if b"Range:" in request:
            yield b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        else:
            yield f'HTTP/1.1 200 OK\r\nContent-Length: {WHOLE}\r\nAccept-Ranges: bytes\r\nETag: "v1"\r\n\r\n'.encode()
            yield BODY[:100_000]

    with serving(answer) as server, new_downloader() as downloader, pytest.raises(LinkDead, match="HTTP 403"):
        fetch(downloader, link(server))


class Slow(Breaking):
    """Sends a part, and the next one when it is let."""

    def __init__(self, tags: tuple[str, ...] = ('"v1"',), ranges: str = "bytes") -> None:
        super().__init__(WHOLE, tags, ranges)
        self.let = threading.Event()

    def __call__(self, request: bytes) -> Iterable[bytes]:
        head, body = super().__call__(request)
        yield head
        yield body[:50_000]
        assert self.let.wait(patient(10))
        yield body[50_000:]


def set_down(server: Slow, port: int, downloader: Downloader) -> SetDown:
    """The error of a download that must make room after its first bytes."""

    def may_go_on() -> bool:
        # It is asked before the request, before its header is read, and before two reads of bytes.
        turns.append(None)
        if len(turns) < 4:
            return True
        server.let.set()
        return False

    turns: list[None] = []
    with pytest.raises(SetDown) as caught, downloader.fetch(f"http://127.0.0.1:{port}/a.png", (), may_go_on):
        pass
    return caught.value


def test_what_is_set_down_goes_on_with_the_rest_the_next_time():
    answer = Slow()
    with serving(answer) as server, new_downloader() as downloader:
        assert set_down(answer, server.port, downloader).can_resume
        assert fetch(downloader, f"http://127.0.0.1:{server.port}/a.png") == BODY
        first, second = ranges(server)
        assert first == ""
        assert 0 < int(second) <= 50_000


@pytest.mark.parametrize("answer", [Slow(('W/"weak"',)), Slow(ranges="none")])
def test_what_is_set_down_begins_anew_where_the_server_cannot_resume(answer: Slow):
    with serving(answer) as server, new_downloader() as downloader:
        assert not set_down(answer, server.port, downloader).can_resume
        assert fetch(downloader, f"http://127.0.0.1:{server.port}/a.png") == BODY
        assert ranges(server) == ["", ""]


def test_only_so_many_are_kept_half_done_and_not_for_ever(monkeypatch: pytest.MonkeyPatch):
    kept = parked.Parked()
    for number in range(10):
        kept.keep(str(number), Transfer(10))
    assert kept.take("1") is None
    last = kept.take("9")
    assert last is not None
    last.close()
    monkeypatch.setattr(parked, "_LONGEST", -1.0)
    assert kept.take("8") is None
    kept.close()
