"""POST events to one address: bounded in time, never redirected, and nothing of the answer matters but its status.

Through `http.client` and not through requests, which cannot end an answer whose header drips in.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from worker.net import PORTS, Connection, Target, connect_to_first, is_private, read_address, trusted_authorities

#: seconds to connect to one address of the host, and for one POST from its first byte to the end of the answer's header
CONNECT_TIMEOUT = 5.0
PATIENCE = 15.0
#: an answer's body is read so far only to use its connection again
_SMALL = 64 * 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event was not taken; `final`: another try would be unwelcome."""

    reason: str
    final: bool = False


class Line:
    """One subscriber's address; the connection is kept from one event to the next. For one thread."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._target = Target(
            scheme=parts.scheme, host=parts.hostname or "", port=parts.port or PORTS[parts.scheme], path=path
        )
        self._kept: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._kept is not None:
            self._kept.close()

    def post(self, body: bytes, headers: Mapping[str, str]) -> Refusal | None:
        """Deliver a body; None when it was taken (2xx), else why not, in words without the address."""
        try:
            status = self._answer(body, headers)
        except (OSError, http.client.HTTPException) as error:
            return Refusal(_in_words(error))
        if 200 <= status < 300:
            return None
        if 300 <= status < 400:
            advice = "which is not followed: put the final address into DARKROOM_NOTIFY_URLS"
            return Refusal(f"it answers with a redirect (HTTP {status}), {advice}")
        if status == 410:
            return Refusal("it wants no more (HTTP 410)", final=True)
        return Refusal(f"it answers with HTTP {status}")

    def _answer(self, body: bytes, headers: Mapping[str, str]) -> int:
        kept, self._kept = self._kept, None
        if kept is not None:
            # The other side may have given it up while it was idle; then a fresh one decides.
            with suppress(ConnectionError):
                return self._status(kept, body, headers)
        return self._status(Connection(self._target, _GUARD, _tls(), CONNECT_TIMEOUT), body, headers)

    def _status(self, connection: Connection, body: bytes, headers: Mapping[str, str]) -> int:
        try:
            if connection.sock is None:
                connection.connect()
            # A name with several addresses, or a slow handshake, takes nothing of the answer's time.
            deadline = time.monotonic() + PATIENCE
            response = connection.ask("POST", self._target.path, headers, body, timeout=PATIENCE, deadline=deadline)
            is_reusable = _is_used_up(response)
        except BaseException:
            connection.close()
            raise
        if is_reusable:
            self._kept = connection
        else:
            connection.close()
        return response.status


def _is_used_up(response: http.client.HTTPResponse) -> bool:
    """Read a short body, so that its connection can carry another event; False where that is not worth it."""
    if response.will_close or response.length is None or response.length > _SMALL:
        return False
    try:
        response.read()
    except (OSError, http.client.HTTPException):
        return False
    return True


class _Guard:
    """Deliveries may go wherever an operator sends them, but in plain http only within the private network."""

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


#: the first that fits is said: what is special stands before what it is a kind of
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (_TooOpenError, "its name leads to a public address, where plain http does not go: use https"),
    (socket.gaierror, "its name is not known"),
    (TimeoutError, f"it does not answer within {PATIENCE:g} seconds"),
    (ConnectionRefusedError, "it refuses the connection"),
    (ConnectionError, "it ends the connection without an answer"),
)


def _in_words(error: Exception) -> str:
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return words
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, OSError):
        return f"it cannot be reached: {error.strerror or type(error).__name__}"
    return f"its answer is not proper HTTP ({type(error).__name__})"
