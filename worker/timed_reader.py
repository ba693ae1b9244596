"""Answers that end in time, however slowly their bytes drip in: `http.client` alone bounds each read, not their sum."""

import http.client
import io
import math
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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
    """What http.client reads an answer with; each read ends after `timeout` seconds, and all of them at `deadline`.

    `deadline`: of the monotonic clock. Too late is TimeoutError. `watch` is told before each read how many bytes the
    last one has brought, and may end it all by raising.
    """
    response = http.client.HTTPResponse(sock, **options)
    raw = response.fp.detach()
    response.fp = io.BufferedReader(_TimedReader(raw, sock, timeout, deadline, watch))
    return response


class _TimedReader(io.RawIOBase):
    """Gives each read only the time that is left, so status line, headers, chunk sizes and body all end in time."""

    def __init__(
        self,
        raw: io.RawIOBase,
        sock: socket.socket,
        timeout: float,
        deadline: float,
        watch: Callable[[int], None] | None,
    ) -> None:
        self._raw = raw
        self._sock = sock
        self._timeout = timeout
        self._deadline = deadline
        self._watch = watch
        self._brought = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        if self._watch is not None:
            self._watch(self._brought)
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("its total time is over")
        self._sock.settimeout(min(self._timeout, left))
        try:
            count = self._raw.readinto(buffer)
        except TimeoutError as error:
            silence = f"nothing came for {self._timeout:g} seconds"
            raise TimeoutError(silence if self._timeout < left else "its total time is over") from error
        self._brought = count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
