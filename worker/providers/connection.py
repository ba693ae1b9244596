"""One connection per request, to know for certain whether anything was sent: money depends on it.

`requests` raises the same ConnectionError, and the same SSLError, before and after a request has been sent. Here, every
request gets its own connection, so whatever fails before the first byte fails in `connect()` and is marked there; any
other failure may have been a paid request. Reusing connections would save 1 ms of CPU per call (TLS handshake) but lose
this certainty: the provider may close an idle connection just as a request is on its way.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from worker.net import ProxyError, TimedConnection, TimedResponse, proxy_for, trusted_authorities, whole_address

#: seconds for a reply's body; its whole header must arrive within the timeout of a single wait
BODY_TIMEOUT = 15.0
#: all that a call through `FreshConnections`, or reading its reply, can raise
TRANSPORT_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


class FreshConnections(HTTPAdapter):
    """Sends each request once, over a new connection.

    Used without a Session: its cookies, redirects and passwords from the environment have no place in a paid request.
    A proxy (`worker.net.egress`) only provides the connection, and anything it says before that is not the provider's
    word. Raises ConfigurationError if the CA bundle cannot be read.
    """

    def __init__(self, *, tls: bool) -> None:
        self._tls_context = trusted_authorities() if tls else None
        super().__init__(pool_maxsize=64)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._tls_context)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}

    def cert_verify(self, *args: Any, **options: Any) -> None:
        """Do nothing: the shared context requires a valid certificate, and the default would reread the bundle."""


class _NothingSent(urllib3.exceptions.NewConnectionError):
    """The connection was never established, so no byte of the request was sent."""


@contextmanager
def _connecting(connection: HTTPConnection) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        raise _NothingSent(connection, str(error)) from error


class _LastResponse(TimedResponse):
    """Closes its connection even if the provider ignores our `Connection: close`, so none is reused or left open."""

    def begin(self) -> None:
        super().begin()
        self.will_close = True


class _LastReplies(TimedConnection):
    reply_class = _LastResponse
    body_timeout = BODY_TIMEOUT


class _PlainConnection(_LastReplies, HTTPConnection):
    def connect(self) -> None:
        with _connecting(self):
            super().connect()

    def request(self, method: str, url: str, *args: Any, **options: Any) -> None:
        """Called by urllib3; an HTTP proxy needs the absolute URL."""
        if proxy := proxy_for("http", self.host, self.port):
            url = whole_address(self.host, self.port, url)
            options["headers"] = {**options["headers"], **proxy.headers}
        super().request(method, url, *args, **options)

    def _new_conn(self) -> socket.socket:
        return _through_proxy("http", self) or super()._new_conn()


class _TlsConnection(_LastReplies, HTTPSConnection):
    def connect(self) -> None:
        with _connecting(self):
            super().connect()

    def _new_conn(self) -> socket.socket:
        return _through_proxy("https", self) or super()._new_conn()


def _through_proxy(scheme: str, connection: HTTPConnection) -> socket.socket | None:
    proxy = proxy_for(scheme, connection.host, connection.port)
    if proxy is None:
        return None
    patience = float(connection.timeout or 0)
    return proxy.reach(
        scheme, connection.host, connection.port, timeout=patience, deadline=time.monotonic() + 2 * patience
    )


class _PlainPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


def diagnose(error: Exception) -> tuple[str, bool]:
    """Return a short description of one of TRANSPORT_ERRORS, and whether the request may have reached the provider."""
    inner = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
    reason = getattr(inner, "reason", None)
    if isinstance(reason, _NothingSent):
        return _why_not_connected(reason.__cause__), False
    if isinstance(inner, urllib3.exceptions.ReadTimeoutError):
        return "read_timeout", True
    detail = inner.args[-1] if isinstance(inner, urllib3.exceptions.ProtocolError) else None
    # RemoteDisconnected is both an HTTPException and a ConnectionError.
    if isinstance(detail, http.client.HTTPException) and not isinstance(
        detail, ConnectionError | http.client.IncompleteRead
    ):
        return "unreadable_reply", True
    return "connection_lost", True


def said_by_proxy(error: Exception) -> str:
    """Return the proxy's error, to be appended to a sentence; empty if the error is not a proxy's."""
    inner = error.args[0] if isinstance(error, requests.RequestException) and error.args else error
    cause = getattr(getattr(inner, "reason", None), "__cause__", None)
    return f": {cause}" if isinstance(cause, ProxyError) else ""


def _why_not_connected(cause: BaseException | None) -> str:
    if isinstance(cause, ProxyError):
        return "proxy"
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return "name_not_resolved"
    if isinstance(cause, ssl.SSLError | urllib3.exceptions.SSLError):
        return "tls_failed"
    if cause and isinstance(cause.__cause__, ConnectionRefusedError):
        return "connection_refused"
    if isinstance(cause, TimeoutError) or type(cause) is urllib3.exceptions.ConnectTimeoutError:
        return "connect_timeout"
    return "connection_failed"
