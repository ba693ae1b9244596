"""Reads a request's body to the end, up to a limit."""

import io
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wsgi import get_content_length

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from _typeshed.wsgi import InputStream, WSGIEnvironment

#: bytes held in memory at a time
_PIECE = 64 * 1024
#: bytes read of a refused body
_READ_ON = 1024 * 1024


def read_body(environ: "WSGIEnvironment", largest: int) -> bytes:
    """Read all of it. Raises RequestEntityTooLarge, and ClientDisconnected for an incomplete body."""
    length = _length(environ, largest)
    body: bytes = environ["wsgi.input"].read(largest + 1 if length is None else length)
    if len(body) > largest:
        _refuse(largest)
    if length is not None and len(body) < length:
        # If the sender hangs up, granian passes on what it received, without an error.
        raise ClientDisconnected
    return body


def open_body(environ: "WSGIEnvironment", largest: int) -> BinaryIO:
    """Return the body as a stream; opening and reading it raise as `read_body` does."""
    return io.BufferedReader(_Body(environ, _length(environ, largest), largest), _PIECE)


def _length(environ: "WSGIEnvironment", largest: int) -> int | None:
    """Return the declared length; None for a chunked body."""
    length = get_content_length(environ)
    if length is not None and length > largest:
        _refuse(largest)
    return length


def read_on(environ: "WSGIEnvironment") -> None:
    """Read the rest of a refused body, up to 1 MiB.

    A client that is still sending when the connection closes may never see the answer, and a proxy turns it into 502.
    """
    # A client that expects 100 Continue sends nothing before it.
    left = 0 if "HTTP_EXPECT" in environ else _READ_ON
    while left > 0 and (piece := environ["wsgi.input"].read(min(left, _PIECE))):
        left -= len(piece)


def _refuse(largest: int) -> NoReturn:
    raise RequestEntityTooLarge(f"the body is larger than the limit of {largest:,} bytes: send it in several parts")


class _Body(io.RawIOBase):
    def __init__(self, environ: "WSGIEnvironment", length: int | None, largest: int) -> None:
        self._stream: InputStream = environ["wsgi.input"]
        self._length = length
        self._largest = largest
        self._read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer)
        wanted = min(len(view), _PIECE)
        if self._length is not None:
            wanted = min(wanted, self._length - self._read)
        piece = self._stream.read(wanted) if wanted else b""
        self._read += len(piece)
        if self._read > self._largest:
            _refuse(self._largest)
        if not piece and self._length is not None and self._read < self._length:
            raise ClientDisconnected
        view[: len(piece)] = piece
        return len(piece)
