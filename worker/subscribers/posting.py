"""POST events to one address: bounded in time, never redirected, and nothing of the answer matters but its status.

Through `http.client` and not through requests, which cannot end an answer whose header drips in.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from worker.net import proxy_for, timed_response, trusted_authorities, whole_address
from worker.subscribers.subscribers import is_private

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
        self._host = parts.hostname or ""
        self._is_tls = parts.scheme == "https"
        self._default_port = 443 if self._is_tls else 80
        self._port = parts.port or self._default_port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._proxy = proxy_for(parts.scheme, self._host, self._port)
        self._kept: http.client.HTTPConnection | None = None

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
        return self._status(self._connect(), body, headers)

    def _status(self, connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]) -> int:
        deadline = time.monotonic() + PATIENCE
        connection.response_class = lambda sock, **options: timed_response(  # type: ignore[assignment]
            sock, options, timeout=PATIENCE, deadline=deadline
        )
        try:
            if self._proxy is not None and not self._is_tls:
                target = whole_address(self._host, self._port, self._target)
                connection.request("POST", target, body, {**headers, **self._proxy.headers})
            else:
                connection.request("POST", self._target, body, dict(headers))
            response = connection.getresponse()
            is_reusable = _is_used_up(response)
        except BaseException:
            connection.close()
            raise
        if is_reusable:
            self._kept = connection
        else:
            connection.close()
        return response.status

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._host, self._port)
        # http.client leaves this one out of the Host header.
        connection.default_port = self._default_port
        # Or it would connect by itself, to whatever address and without TLS.
        connection.auto_open = 0
        if self._proxy is None:
            sock = _connected(self._host, self._port, plain=not self._is_tls)
        else:
            if not self._is_tls:
                _refuse_public(self._host)
            deadline = time.monotonic() + PATIENCE
            scheme = "https" if self._is_tls else "http"
            sock = self._proxy.reach(scheme, self._host, self._port, timeout=CONNECT_TIMEOUT, deadline=deadline)
        try:
            connection.sock = _tls().wrap_socket(sock, server_hostname=self._host) if self._is_tls else sock
        except BaseException:
            sock.close()
            raise
        connection.sock.settimeout(PATIENCE)
        return connection


def _is_used_up(response: http.client.HTTPResponse) -> bool:
    """Read a short body, so that its connection can carry another event; False where that is not worth it."""
    if response.will_close or response.length is None or response.length > _SMALL:
        return False
    try:
        response.read()
    except (OSError, http.client.HTTPException):
        return False
    return True


def _connected(host: str, port: int, *, plain: bool) -> socket.socket:
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if plain and not all(is_private(str(address[0])) for *_, address in addresses):
        raise _TooOpenError
    failure: OSError = TimeoutError()
    for family, kind, protocol, _, address in addresses:
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(CONNECT_TIMEOUT)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise failure


def _refuse_public(host: str) -> None:
    """As far as can be seen from here: a proxy resolves names that nobody else knows."""
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return
    if not all(is_private(str(address[0])) for *_, address in addresses):
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
