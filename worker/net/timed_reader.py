"""HTTP responses with a total time limit: `http.client` alone limits each read, not their sum."""

import http.client
import io
import math
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import worker.net.reply_headers  # noqa: F401  responses are read by it

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def timed_response(
    sock: socket.socket,
    options: dict[str, Any],
    *,
    timeout: float,
    deadline: float = math.inf,
    watch: Callable[[int], None] | None = None,
) -> http.client.HTTPResponse:
    """Return a response for http.client; each read ends after `timeout` seconds, and all of them at `deadline`.

    `deadline`: of the monotonic clock. Raises TimeoutError afterwards. `watch` is called before each read with the
    number of bytes of the last one, and may raise.
    """
    return TimedResponse(sock, timeout=timeout, deadline=deadline, watch=watch, **options)


class TimedResponse(http.client.HTTPResponse):
    """A response with its header by `deadline` and its body by then or `body` seconds after the header.

    `rate`: bytes that extend the limit by one second, for large bodies.
    """

    def __init__(
        self,
        sock: socket.socket,
        *args: Any,
        timeout: float,
        deadline: float,
        body: float = 0.0,
        rate: float = math.inf,
        watch: Callable[[int], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(sock, *args, **options)
        self._reader = _TimedReader(self.fp.detach(), sock, timeout, deadline, rate=rate, watch=watch)
        self._body = body
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        self._reader.deadline = max(self._reader.deadline, time.monotonic() + self._body)


class TimedConnection(http.client.HTTPConnection):
    """A connection with a limit for each response; also a mixin before the classes of urllib3.

    Its `timeout` (seconds) limits each read, and the whole header as well.
    """

    reply_class = TimedResponse
    #: see TimedResponse
    body_timeout = 0.0
    rate = math.inf

    def response_class(self, sock: socket.socket, *args: Any, **options: Any) -> TimedResponse:  # type: ignore[override]
        """Called by http.client for each response, before it reads any of it."""
        timeout = self.timeout or 0.0
        times = {"timeout": timeout, "deadline": time.monotonic() + timeout}
        times |= {"body": self.body_timeout, "rate": self.rate}
        return self.reply_class(sock, *args, **times, **options)  # type: ignore[arg-type]


class TimedTlsConnection(TimedConnection, http.client.HTTPSConnection):
    """The same over TLS."""


class _TimedReader(io.RawIOBase):
    """Limits each read to the remaining time, so status line, headers, chunk sizes and body all end in time."""

    def __init__(
        self,
        raw: io.RawIOBase,
        sock: socket.socket,
        timeout: float,
        deadline: float,
        *,
        rate: float,
        watch: Callable[[int], None] | None,
    ) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout = timeout
        self._rate = rate
        self._watch = watch
        self._brought = self._received = 0
        self.deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        if self._watch is not None:
            self._watch(self._brought)
        left = self.deadline + self._received / self._rate - time.monotonic()
        if left <= 0:
            raise TimeoutError("the time limit was exceeded")
        self._sock.settimeout(min(self._timeout, left))
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError as error:
            silence = f"no data for {self._timeout:g} seconds"
            raise TimeoutError(silence if self._timeout < left else "the time limit was exceeded") from error
        # The next request on this connection has its own limit.
        self._sock.settimeout(self._timeout)
        self._brought = count or 0
        self._received += self._brought
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
