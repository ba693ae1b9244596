"""POSTs events to one address: with a time limit and without redirects; only the status of the response matters.

The beginning of its body is kept for people.

Through `http.client` and not requests, which cannot stop a response whose header arrives too slowly.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from worker.errors import AddressForbidden
from worker.net import (
    PORTS,
    Connection,
    Guard,
    Target,
    connect_to_first,
    is_private,
    read_address,
    read_retry_after,
    trusted_authorities,
)

#: seconds to connect to one address of the host, and for one POST from its first byte to the end of the response header
CONNECT_TIMEOUT = 5.0
PATIENCE = 15.0
#: bytes of a response's body to read, so that the connection can be reused
_SMALL = 64 * 1024
#: bytes of a response's body that are kept
_BEGINNING = 200
#: statuses whose Retry-After is honoured
_BUSY = (429, 503)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a delivery failed; `final`: neither retry nor send more; `retry_after`: the wait that it asked for."""

    reason: str
    final: bool = False
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a delivery. `refusal`: None on success; `text`: the beginning of the body, for people."""

    refusal: Refusal | None = None
    status: int | None = None
    text: str = ""


class Line:
    """One subscriber's address, with a keep-alive connection. For one thread.

    `guard`: of an origin that others chose; without it, the rule for what operators configure.
    """

    def __init__(self, url: str, guard: Guard | None = None) -> None:
        parts = urlsplit(url)
        self._target = Target(
            scheme=parts.scheme, host=parts.hostname or "", port=parts.port or PORTS[parts.scheme], path=_path(url)
        )
        self._guard = guard or _GUARD
        self._kept: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept is not None:
            self._kept.close()

    def post(self, body: bytes, headers: Mapping[str, str], url: str | None = None) -> Reply:
        """Deliver a body; a refusal's reason is without the address, and success is 2xx.

        `url`: another address of the same origin.
        """
        path = self._target.path if url is None else _path(url)
        try:
            response = self._answer(path, body, headers)
        except AddressForbidden:
            return Reply(Refusal(_FORBIDDEN))
        except (OSError, http.client.HTTPException) as error:
            return Reply(Refusal(_in_words(error)))
        return Reply(_refusal(response), response.status, response.text)

    def _answer(self, path: str, body: bytes, headers: Mapping[str, str]) -> "_Response":
        kept, self._kept = self._kept, None
        if kept is not None:
            # The peer may have closed the idle connection; a new one decides.
            with suppress(ConnectionError):
                return self._status(kept, path, body, headers)
        fresh = Connection(self._target, self._guard, _tls(), CONNECT_TIMEOUT)
        return self._status(fresh, path, body, headers)

    def _status(self, connection: Connection, path: str, body: bytes, headers: Mapping[str, str]) -> "_Response":
        try:
            if connection.sock is None:
                connection.connect()
            # A name with several addresses, or a slow handshake, takes nothing of the answer's time.
            deadline = time.monotonic() + PATIENCE
            response = connection.ask("POST", path, headers, body, timeout=PATIENCE, deadline=deadline)
            asked_for = read_retry_after(dict(response.headers.items()))
            text, is_reusable = _beginning(response)
        except BaseException:
            connection.close()
            raise
        if is_reusable:
            self._kept = connection
        else:
            connection.close()
        return _Response(response.status, text, asked_for)


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    text: str
    retry_after: timedelta | None


def _refusal(response: _Response) -> Refusal | None:
    status = response.status
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return Refusal(f"HTTP {status}: redirects are not followed: give the final address")
    if status == 410:
        return Refusal("it accepts no more events (HTTP 410)", final=True)
    return Refusal(f"HTTP {status}", retry_after=response.retry_after if status in _BUSY else None)


def _beginning(response: http.client.HTTPResponse) -> tuple[str, bool]:
    """Return the beginning of the body, and whether the connection can carry another event.

    A short body is read to its end for that; of any other, what came with the header.
    """
    is_short = not response.will_close and response.length is not None and response.length <= _SMALL
    try:
        read = response.read() if is_short else response.read1(_BEGINNING)
    except (OSError, http.client.HTTPException):
        return "", False
    return read[:_BEGINNING].decode("utf-8", "replace"), is_short


class _Guard:
    """Deliveries may go anywhere an operator configures, but plain http only within the private network."""

    def connect(self, target: Target, *, timeout: float, deadline: float) -> socket.socket:
        answers = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        _refuse_public(target, answers)
        return connect_to_first(answers, timeout=timeout, deadline=deadline)

    def check_for_proxy(self, target: Target) -> None:
        # A proxy resolves names that nobody else knows.
        with suppress(socket.gaierror):
            _refuse_public(target, socket.getaddrinfo(target.host, None, type=socket.SOCK_STREAM))


_GUARD = _Guard()


def _refuse_public(target: Target, answers: Sequence[Any]) -> None:
    if target.scheme == "http" and not all(is_private(read_address(str(address[0]))) for *_, address in answers):
        raise _TooOpenError


class _TooOpenError(OSError):
    """Plain HTTP would leave the private network."""


@cache
def _tls() -> ssl.SSLContext:
    return trusted_authorities()


_FORBIDDEN = (
    "its host name resolves to an address that is not public: add that address or its network to "
    "DARKROOM_NOTIFY_ALLOW if events may be sent there"
)
#: the first match is reported: special cases come before general ones
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (_TooOpenError, "its name resolves to a public address, where plain http is not allowed: use https"),
    (socket.gaierror, "its host name cannot be resolved"),
    (TimeoutError, f"no response within {PATIENCE:g} seconds"),
    (ConnectionRefusedError, "it refuses the connection"),
    (ConnectionError, "it closed the connection without a response"),
)


def _in_words(error: Exception) -> str:
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, OSError):
        return f"unreachable: {error.strerror or type(error).__name__}"
    return f"its response is not valid HTTP ({type(error).__name__})"
