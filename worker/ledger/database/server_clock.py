"""The database server's time without a query each time: this machine's monotonic clock and a measured offset.

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
#: how often the server is asked at first: the answers after the first one are quicker, and so more exact
_FIRST = 3
#: how long the first caller that needs the time waits for the server, and how long an unresponsive server is left alone
_PATIENCE, _PAUSE = timedelta(seconds=2), timedelta(seconds=10)

# CLOCK_MONOTONIC stops while a Linux machine sleeps.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def system_clock() -> datetime:
    """Return this machine's time; correct only if it is synchronized."""
    return datetime.now(UTC)


def steady_clock() -> timedelta:
    """The monotonic time, which nobody can set."""
    return timedelta(microseconds=time.clock_gettime_ns(_STEADY) // 1000)


class ServerClock:
    """A clock that returns this machine's time until the server has answered once.

    `connect` opens a connection, on which `measure` is called; it runs in a thread of its own, and may hang or raise.
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
        """Return how far this machine's clock is ahead of the server's; zero while that is unknown."""
        return timedelta() if self._zero is None else self.wall() - (self._zero + self.steady())

    @property
    def is_due(self) -> bool:
        """Return whether it is time to measure again."""
        return self._next_at is None or self.steady() >= self._next_at

    def expect_another_server(self) -> None:
        """Measure soon: a new connection may lead to a server with another clock, after a fail-over."""
        self._next_at = None

    def measure(self, ask: Callable[[], datetime]) -> None:
        """Query the server's time in one round trip, and use it with the accuracy that its duration allows."""
        # Before it asks: other threads need not ask as well.
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
        """The server's time at zero is between these, because it was read between question and answer.

        An estimate that is possible stays as it is; one that is not moves just as far as it must. So an answer that
        was under way for long moves it little, and no accident of the network can make the time go back.
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
        except Exception as error:  # noqa: BLE001  whoever uses the ledger next is told
            log.debug("could not query the database's time: %s", error)
        finally:
            self._answered.set()
