"""The database server's time without a query per call: this machine's monotonic clock plus a measured offset.

All machines share the database, so they agree on its clock, however wrong their own clocks are.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

log = logging.getLogger(__name__)

#: how old a measurement may be
EVERY = timedelta(minutes=1)
#: how many times the server is queried at first: later answers arrive faster, and so are more precise
_FIRST = 3
#: how long the first caller waits for the server, and the time between queries of an unresponsive server
_PATIENCE, _PAUSE = timedelta(seconds=2), timedelta(seconds=10)

# CLOCK_MONOTONIC stops while a Linux machine sleeps.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def system_clock() -> datetime:
    """Return this machine's time; correct only if it is synchronized."""
    return datetime.now(UTC)


def steady_clock() -> timedelta:
    """Return the monotonic time, which cannot be set."""
    return timedelta(microseconds=time.clock_gettime_ns(_STEADY) // 1000)


class ServerClock:
    """The server's clock. It returns this machine's time until the server has answered once.

    `connect` opens a connection, on which `measure` is called. It runs in its own thread, and may hang or raise.
    """

    def __init__(
        self,
        connect: Callable[[], object],
        *,
        wall: Callable[[], datetime] = system_clock,
        steady: Callable[[], timedelta] = steady_clock,
    ) -> None:
        self._connect = connect
        self.wall = wall
        self.steady = steady
        #: the server's time at zero of the steady clock
        self._zero: datetime | None = None
        self._next_at: timedelta | None = None
        self._lock = threading.Lock()
        self._asked_at = -_PAUSE
        #: set unless a thread is asking
        self._answered = threading.Event()
        self._answered.set()

    def __call__(self) -> datetime:
        if self._zero is None:
            self._wait_for_first()
        return self.wall() if self._zero is None else self._zero + self.steady()

    @property
    def local_error(self) -> timedelta:
        """Return how far this machine's clock is ahead of the server's; zero while unknown."""
        return timedelta() if self._zero is None else self.wall() - (self._zero + self.steady())

    @property
    def is_due(self) -> bool:
        """Return whether it is time to measure again."""
        return self._next_at is None or self.steady() >= self._next_at

    def expect_another_server(self) -> None:
        """Measure soon: after a failover, a new connection may lead to a server with a different clock."""
        self._next_at = None

    def measure(self, ask: Callable[[], datetime]) -> None:
        """Query the server's time in one round trip, and use it as precisely as the round trip's duration allows."""
        # Set before the query, so that other threads do not query as well.
        self._next_at = self.steady() + EVERY
        try:
            for _ in range(_FIRST if self._zero is None else 1):
                before = self.steady()
                told = ask().astimezone(UTC)
                self._learn(told - self.steady(), told - before)
        except BaseException:
            self._next_at = None
            raise

    def _learn(self, earliest: datetime, latest: datetime) -> None:
        """Narrow down the server's time at zero, which is between these bounds: it was read during the round trip.

        An estimate within the bounds stays as it is; one outside moves only to the nearest bound. So a slow answer
        moves the estimate little, and no network delay can make the time go backward.
        """
        with self._lock:
            if self._zero is None:
                self._zero = earliest + (latest - earliest) / 2
            else:
                self._zero = min(max(self._zero, earliest), latest)

    def _wait_for_first(self) -> None:
        with self._lock:
            now = self.steady()
            if self._answered.is_set() and now - self._asked_at >= _PAUSE:
                self._asked_at = now
                self._answered.clear()
                threading.Thread(target=self._ask, name="server-clock", daemon=True).start()
            left = self._asked_at + _PATIENCE - now
        self._answered.wait(max(left, timedelta()).total_seconds())

    def _ask(self) -> None:
        try:
            self._connect()
        except Exception as error:  # noqa: BLE001  the next use of the ledger reports it
            log.debug("could not query the database's time: %s", error)
        finally:
            self._answered.set()
