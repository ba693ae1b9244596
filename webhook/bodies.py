"""Limits how many bodies are read at once: a client that sends its body slowly, or never, occupies a thread.

Nothing can take that thread back, so some must stay free: for reads, for requests that wait, and for probes.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING

from werkzeug.wsgi import get_content_length

from webhook.body import read_on
from worker.errors import DarkroomError

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: bytes of a batch file; a sheet of 50,000 long rows has a tenth of this
LARGEST_FILE = 200 * 1024 * 1024
#: bytes from which a body counts as large; a chunked one may be
LARGE = 1024 * 1024
#: together with the requests that wait for generations and events, fewer than the threads of the process
MOST_SMALL, MOST_LARGE = 24, 12
#: seconds to wait for a free place; a body that arrives at once takes milliseconds
PATIENCE = 5.0

#: refused requests whose remaining bodies are read concurrently
MOST_REFUSED = 8

#: large JSON requests that are carried out concurrently: 15 MB of JSON take 50 MB
MOST_CARRIED_OUT = 6

_small, _large = BoundedSemaphore(MOST_SMALL), BoundedSemaphore(MOST_LARGE)
_refused = BoundedSemaphore(MOST_REFUSED)
_carried_out = BoundedSemaphore(MOST_CARRIED_OUT)
_parsing = Lock()


class Busy(DarkroomError):
    """Too many bodies are arriving at the moment: this one has to wait."""


def reading(environ: "WSGIEnvironment") -> AbstractContextManager[None]:
    """Take a place to read this body. Raises Busy if none becomes free in time."""
    return _place(_large if _is_large(environ) else _small)


def carrying_out(environ: "WSGIEnvironment") -> AbstractContextManager[None]:
    """Take a place for a request whose body stays in memory, if the body is large. Raises as `reading` does."""
    return _place(_carried_out) if _is_large(environ) else nullcontext()


def read_rest(environ: "WSGIEnvironment") -> None:
    """Read the rest of a refused request's body, unless many are doing so: then senders may not see their answers."""
    if _refused.acquire(blocking=False):
        try:
            read_on(environ)
        finally:
            _refused.release()


@contextmanager
def parsing(body: bytes) -> Iterator[None]:
    """Parse one large body at a time: parsing takes several times its size in memory."""
    if len(body) <= LARGE:
        yield
        return
    with _parsing:
        yield


def _is_large(environ: "WSGIEnvironment") -> bool:
    length = get_content_length(environ)
    return length > LARGE if length is not None else "HTTP_TRANSFER_ENCODING" in environ


@contextmanager
def _place(places: BoundedSemaphore) -> Iterator[None]:
    if not places.acquire(timeout=PATIENCE):
        raise Busy("too many requests are sending their bodies right now: repeat this one with the same keys")
    try:
        yield
    finally:
        places.release()
