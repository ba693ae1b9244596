"""Connections to checked addresses only; download connections are monitored and kept alive.

Behind a proxy, only the link itself can be checked.

They use `http.client`, not requests: requests and urllib3 rewrite outgoing links, which breaks signatures, and cannot
stop a response whose header trickles in. `http.client` also uses less CPU per byte.
"""

import http.client
import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

from worker.net.address_guard import AddressGuard, Target
from worker.net.addresses import PORTS
from worker.net.egress import proxy_for, whole_address
from worker.net.timed_reader import timed_response

#: seconds; a firewall may have silently dropped a connection that was idle for longer
_MAX_IDLE = 30
_MAX_KEPT = 32
#: maximum addresses of a host to try, each with the full timeout
_MOST_ADDRESSES = 3


class Guard(Protocol):
    """Checks where a connection may go."""

    def connect(self, target: Target, *, timeout: float, deadline: float) -> socket.socket:
        """See `AddressGuard.connect`."""

    def check_for_proxy(self, target: Target) -> None:
        """Raise if, as far as this machine can tell, a proxy must not connect to the target."""


class ConnectionPool:
    """Sends GETs over keep-alive connections. Thread-safe, but not fork-safe."""

    def __init__(
        self, guard: AddressGuard, tls: ssl.SSLContext, *, connect_timeout: float, read_timeout: float
    ) -> None:
        self._guard = guard
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._lock = threading.Lock()
        #: idle connections, oldest first
        self._kept: list[Connection] = []

    @contextmanager
    def get(
        self, target: Target, headers: Mapping[str, str], watch: Callable[[int], None]
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the response to one GET; `watch` is called with the number of bytes of each read, and may raise.

        Raises LinkForbidden, OSError or http.client.HTTPException, and whatever `watch` raises.
        """
        connection, response = self._request(target, headers, watch)
        is_whole = False
        try:
            yield response
            # Checked before closing, because every closed response looks complete.
            is_whole = response.isclosed() or response.length == 0
        finally:
            response.close()
            if is_whole and connection.sock is not None:
                self._keep(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            while self._kept:
                self._kept.pop().close()

    def _request(
        self, target: Target, headers: Mapping[str, str], watch: Callable[[int], None]
    ) -> "tuple[Connection, http.client.HTTPResponse]":
        kept = self._take(target)
        if kept is not None:
            try:
                return kept, kept.ask("GET", target.path, headers, timeout=self._read_timeout, watch=watch)
            except (OSError, http.client.HTTPException):
                # The server closed the idle connection. A GET is safe to repeat, so try a new connection.
                kept.close()
            except BaseException:
                kept.close()
                raise
        fresh = Connection(target, self._guard, self._tls, self._connect_timeout)
        try:
            return fresh, fresh.ask("GET", target.path, headers, timeout=self._read_timeout, watch=watch)
        except BaseException:
            fresh.close()
            raise

    def _take(self, target: Target) -> "Connection | None":
        oldest = time.monotonic() - _MAX_IDLE
        with self._lock:
            while self._kept and self._kept[0].kept_since < oldest:
                self._kept.pop(0).close()
            # Newest first, so that surplus connections can age out.
            for index in reversed(range(len(self._kept))):
                if self._kept[index].origin == target.origin:
                    return self._kept.pop(index)
        return None

    def _keep(self, connection: "Connection") -> None:
        connection.kept_since = time.monotonic()
        with self._lock:
            self._kept.append(connection)
            if len(self._kept) > _MAX_KEPT:
                self._kept.pop(0).close()


class Connection(http.client.HTTPConnection):
    """One connection to a checked address.

    The Host header, the TLS handshake and the certificate check use the name in the link.
    """

    def __init__(self, target: Target, guard: Guard, tls: ssl.SSLContext, connect_timeout: float) -> None:
        super().__init__(target.host, target.port, connect_timeout)
        self.origin = target.origin
        # http.client omits the default port from the Host header.
        self.default_port = PORTS[target.scheme]
        self.kept_since = 0.0
        self._target = target
        self._proxy = proxy_for(*target.origin)
        self._guard = guard
        self._tls = tls
        self._connect_timeout = connect_timeout
        self._read: Callable[..., http.client.HTTPResponse] = timed_response

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeout: float,
        deadline: float = math.inf,
        watch: Callable[[int], None] | None = None,
    ) -> http.client.HTTPResponse:
        """Send one request and return its response, header read; other parameters as in `timed_response`.

        Raises OSError or http.client.HTTPException, and whatever the guard and `watch` raise.
        """
        self._read = partial(timed_response, timeout=timeout, deadline=deadline, watch=watch)
        if self._proxy is not None and self._target.scheme == "http":
            path = whole_address(self.host, self.port, path)
            headers = {**headers, **self._proxy.headers}
        if self.sock is None:
            self.connect()
        self.sock.settimeout(timeout)
        self.request(method, path, body, headers=dict(headers))
        return self.getresponse()

    def connect(self) -> None:
        deadline = time.monotonic() + _MOST_ADDRESSES * self._connect_timeout
        times = {"timeout": self._connect_timeout, "deadline": deadline}
        if self._proxy is None:
            self.sock = self._guard.connect(self._target, **times)
        else:
            self._guard.check_for_proxy(self._target)
            self.sock = self._proxy.reach(self._target.scheme, self._target.host, self._target.port, **times)
        if self._target.scheme == "https":
            # The connect timeout still applies, to the handshake as a whole.
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._target.host)

    def response_class(self, sock: socket.socket, **options: Any) -> http.client.HTTPResponse:  # type: ignore[override]
        """Called by http.client for each response."""
        return self._read(sock, options)
