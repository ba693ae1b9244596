"""Clients that send their bodies slowly, or in part, take nothing from others, and nothing of theirs is paid for."""

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Event, Semaphore, Thread
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from tests.patience import patient
from webhook import bodies
from webhook.api.event_watch import MOST_WAITING as MOST_WATCHING
from webhook.waiting import MOST_WAITING, THREADS
from worker.ledger import Ledger


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """No database matters here."""
    return sqlite_url


class Hanging(io.RawIOBase):
    """A body of which nothing comes until the test ends."""

    def __init__(self, begun: Semaphore, over: Event) -> None:
        self._begun, self._over = begun, over

    def readable(self) -> bool:
        return True

    def readinto(self, _: Any) -> int:
        self._begun.release()
        self._over.wait()
        return 0


class Unread(io.RawIOBase):
    """A body that must not be read."""

    def readable(self) -> bool:
        return True

    def readinto(self, _: Any) -> int:
        pytest.fail("the body was read")


def ask(app: Flask, path: str, length: int | None, stream: io.RawIOBase, media: str = "application/json") -> str:
    environ = create_environ(path, "http://127.0.0.1", method="POST", content_type=media)
    environ |= {"wsgi.input": io.BufferedReader(stream), "SERVER_NAME": "127.0.0.1", "REMOTE_ADDR": "127.0.0.1"}
    if length is None:
        environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
        environ.pop("CONTENT_LENGTH", None)
    else:
        environ["CONTENT_LENGTH"] = str(length)
    pieces, status, _ = run_wsgi_app(app, environ)
    b"".join(pieces)
    return status[:3]


@pytest.fixture
def hang(app: Flask) -> Iterator[Callable[[int, str, int | None, str], None]]:
    """Let so many requests hang in their bodies."""
    begun, over = Semaphore(0), Event()
    with ExitStack() as threads:

        def begin(number: int, path: str, length: int | None, media: str) -> None:
            for _ in range(number):
                thread = Thread(target=ask, args=(app, path, length, Hanging(begun, over), media))
                thread.start()
                threads.callback(thread.join)
            for _ in range(number):
                assert begun.acquire(timeout=patient(30))

        try:
            yield begin
        finally:
            over.set()


@pytest.mark.parametrize(
    ("most", "path", "length", "media"),
    [
        (bodies.MOST_SMALL, "/v1/generations", 100, "application/json"),
        (bodies.MOST_CARRIED_OUT, "/v1/generations", bodies.LARGE + 1, "application/json"),
        (bodies.MOST_CARRIED_OUT, "/v1/generations", None, "application/json"),
        (bodies.MOST_SMALL, "/v1/batches?name=shop", 100, "text/csv"),
        (bodies.MOST_LARGE, "/v1/uploads", bodies.LARGE + 1, "image/png"),
    ],
)
def test_bodies_that_never_come_hold_some_threads_and_the_next_is_told_to_come_again(
    app: Flask,
    hang: Callable[[int, str, int | None, str], None],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
    path: str,
    length: int | None,
    media: str,
) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 0.01)
    hang(most, path, length, media)
    assert ask(app, path, length, io.BytesIO(b"{}"), media) == "503"
    assert app.test_client().get("/v1/generations", base_url="http://127.0.0.1").status_code == 200


def test_all_who_may_hold_a_thread_leave_some_to_others() -> None:
    held = bodies.MOST_SMALL + bodies.MOST_LARGE + bodies.MOST_REFUSED
    assert held + MOST_WAITING + MOST_WATCHING < THREADS


def test_refused_bodies_that_never_come_hold_some_threads_and_the_next_is_refused_at_once(
    app: Flask, hang: Callable[[int, str, int | None, str], None]
) -> None:
    hang(bodies.MOST_REFUSED, "/v1/generations", 100, "text/plain")
    assert ask(app, "/v1/generations", 100, Unread(), "text/plain") == "415"


def test_a_place_is_free_again_after_any_end(app: Flask) -> None:
    for _ in range(bodies.MOST_SMALL + 1):
        assert ask(app, "/v1/generations", 100, io.BytesIO(b"{}")) == "400"


@pytest.mark.parametrize("media", ["text/csv", "application/jsonl"])
def test_a_file_in_chunks_is_refused_since_nothing_tells_whether_it_is_complete(
    app: Flask, ledger: Ledger, media: str
) -> None:
    """The server passes on what came before the client hung up, without an error: half a row would be paid for."""
    cut = io.BytesIO(b"key,prompt\n1,a fox\n2,an owl in a wo")
    assert ask(app, "/v1/batches?name=shop", None, cut, media) == "411"
    assert not ledger.generations.page()
