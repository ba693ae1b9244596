"""Load on loopback: many keep-alive connections, each sending its next request when the last one is answered.

One thread with epoll and ready-made requests costs about 20 µs a request, so the server is the bottleneck.
"""

import selectors
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Measured:
    """`latencies` in seconds; `acknowledged`: positions of the requests that were answered with 200."""

    seconds: float = 0
    latencies: list[float] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    refused: int = 0

    @property
    def rate(self) -> float:
        return len(self.acknowledged) / self.seconds

    def percentile(self, percent: int) -> float:
        return statistics.quantiles(self.latencies, n=100)[percent - 1]


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.position = 0
        self.sent_at = 0.0

    def send(self, request: tuple[int, bytes]) -> None:
        self.position, message = request
        self.sent_at = time.perf_counter()
        self.socket.sendall(message)


def drive(port: int, requests: Iterator[tuple[int, bytes]], *, connections: int, seconds: float) -> Measured:
    """Send `requests` (position and whole HTTP message) for so long, or until there are no more.

    The answers must have empty bodies: one that ends in anything but its header raises RuntimeError.
    """
    measured = Measured()
    pool = [_Connection(port) for _ in range(connections)]
    with selectors.DefaultSelector() as selector:
        for connection in pool:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        started = time.perf_counter()
        waiting = 0
        for connection in pool:
            connection.send(next(requests))
            waiting += 1
        while waiting:
            for key, _ in selector.select(timeout=30):
                connection = key.data
                answer = connection.socket.recv(65536)
                if not answer.endswith(b"\r\n\r\n"):
                    raise RuntimeError(f"the answer is not a header alone: {answer[:200]!r}")
                now = time.perf_counter()
                waiting -= 1
                if answer.startswith(b"HTTP/1.1 200 "):
                    measured.latencies.append(now - connection.sent_at)
                    measured.acknowledged.append(connection.position)
                else:
                    measured.refused += 1
                if now - started < seconds and (request := next(requests, None)):
                    connection.send(request)
                    waiting += 1
        measured.seconds = time.perf_counter() - started
    for connection in pool:
        connection.socket.close()
    return measured
