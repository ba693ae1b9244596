"""How many bodies are read at once: a client that sends its own slowly, or never, holds a thread meanwhile.

Nothing takes the thread from it, so others must be left: for reads, for those who wait, and for probes.
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

#: bytes of a batch file; a sheet of 50,000 long rows has a tenth of it
LARGEST_FILE = 200 * 1024 * 1024
#: bytes from which a body is large; one in chunks may be
LARGE = 1024 * 1024
#: with those who wait for generations and events, fewer than the process has threads
MOST_SMALL, MOST_LARGE = 24, 12
#: seconds until a place is free; a body that arrives at once takes milliseconds
PATIENCE = 5.0

#: refused requests whose bodies are read on at once
MOST_REFUSED = 8

#: large requests in JSON that are carried out at once: 15 MB take 50 MB
MOST_CARRIED_OUT = 6

_small, _large = BoundedSemaphore(MOST_SMALL), BoundedSemaphore(MOST_LARGE)
_refused = BoundedSemaphore(MOST_REFUSED)
_carried_out = BoundedSemaphore(MOST_CARRIED_OUT)
_parsing = Lock()


class Busy(DarkroomError):
    """Too many bodies arrive at this moment: this one has to wait."""


def reading(environ: "WSGIEnvironment") -> AbstractContextManager[None]:
    """Take a place to read this body in. Raises Busy if there is none for a while."""
    return _place(_large if _is_large(environ) else _small)


def carrying_out(environ: "WSGIEnvironment") -> AbstractContextManager[None]:
    """Take a place for a request whose body stays in memory, if that is large. Raises as `reading` does."""
    return _place(_carried_out) if _is_large(environ) else nullcontext()


def read_rest(environ: "WSGIEnvironment") -> None:
    """Read on in the body of a refused request, unless many do so: their senders may not see their answers."""
    if _refused.acquire(blocking=False):
        try:
            read_on(environ)
        finally:
            _refused.release()


@contextmanager
def parsing(body: bytes) -> Iterator[None]:
    """Parse one large body at a time: it takes several times its size meanwhile."""
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
        raise Busy("too many requests are sending their bodies at this moment: repeat this one, with the same keys")
    try:
        yield
    finally:
        places.release()
