"""Learns how long generations usually take, to know when one is overdue."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sqrt
from typing import NamedTuple, Protocol

from sqlalchemy import Connection, bindparam, select

from worker.ledger.schema import CleanText, attempts, durations, generations
from worker.ledger.statements import IDS, Query, columns_of, insert_ignoring, update_row
from worker.secrets import SANDBOX_ACCOUNT

#: how many must have succeeded before anything is concluded
ENOUGH = 5
#: an observation hardly counts after this many newer ones, so that the mean follows a provider that becomes slower or
#: faster
MEMORY = 32
#: a learned duration never moves the first poll outside these bounds
SHORTEST, LONGEST = timedelta(seconds=10), timedelta(minutes=15)
#: the least extra time that a callback has after the learned duration
_MARGIN = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=5)
#: the sandbox never calls back, and takes two seconds unless configured otherwise
_OF_SANDBOX = timedelta(seconds=2)

#: what determines the duration: provider (or SANDBOX_ACCOUNT), operation, and speed (None: not named)
Kind = tuple[str, str, str | None]


class HasKind(Protocol):
    """A row that states the kind of its generation; `speed` may be empty if none was named."""

    @property
    def provider(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def speed(self) -> str | None: ...


class Asked(HasKind, Protocol):
    """An attempt to poll."""

    @property
    def account(self) -> str: ...


class _Duration(NamedTuple):
    provider: str
    operation: str
    speed: str
    seen: int
    mean: float
    variance: float


class _Ended(NamedTuple):
    id: str
    sent_at: datetime
    provider: str
    operation: str
    speed: str | None


_d, _a, _g = durations.c, attempts.c, generations.c
_DURATIONS = select(*columns_of(durations, _Duration))
_OF_PROVIDERS = Query(_Duration, _DURATIONS.where(_d.provider.in_(IDS)))
_ENDED = Query(
    _Ended,
    select(_a.id, _a.sent_at, _g.provider, _g.operation, _g.speed)
    .join(generations, _g.id == _a.generation_id)
    # The sandbox is quick, and says nothing about any provider.
    .where(_a.id.in_(IDS), _a.account != SANDBOX_ACCOUNT),
)
_KEY = ("provider", "operation", "speed")
_MINE = Query(
    _Duration,
    _DURATIONS.where(*(_d[name] == bindparam(name, type_=CleanText()) for name in _KEY)).with_for_update(
        skip_locked=True
    ),
)


@dataclass(frozen=True, slots=True)
class Usual:
    """Mean and standard deviation, in seconds, of `seen` successes; recent ones have more weight."""

    seen: int = 0
    mean: float = 0.0
    variance: float = 0.0

    @property
    def deviation(self) -> float:
        return sqrt(self.variance)

    def after(self, seconds: float) -> "Usual":
        """Return the duration after one more observation."""
        if self.seen >= ENOUGH:
            # A callback that arrives an hour late says something about the network, not the provider.
            seconds = min(seconds, self.mean + 4 * max(self.deviation, self.mean / 4, 1.0))
        # Plain mean and variance at first, later with decaying weights.
        share = 1 / min(self.seen + 1, MEMORY)
        off = seconds - self.mean
        return Usual(self.seen + 1, self.mean + share * off, (1 - share) * (self.variance + share * off * off))


class Patience:
    """When to poll silent generations: `poll_after` until their kind is known, then the learned duration.

    `callbacks`: whether the provider calls back, so that only overdue generations need polling.
    """

    def __init__(self, usual: Mapping[Kind, Usual], poll_after: timedelta, *, callbacks: bool) -> None:
        self._usual = usual
        self._poll_after = poll_after
        self._callbacks = callbacks
        self._shortest = min(SHORTEST, poll_after)

    def first(self, kind: Kind) -> timedelta:
        """The time from the submission to the first poll."""
        if kind[0] == SANDBOX_ACCOUNT:
            return _OF_SANDBOX
        usual = self._usual.get(kind)
        if usual is None:
            return self._poll_after
        mean = timedelta(seconds=usual.mean)
        if self._callbacks:
            mean += max(timedelta(seconds=2 * usual.deviation), _MARGIN)
        else:
            # Polling cannot see an end before the poll, so poll a little early: otherwise the mean could only grow.
            mean *= 0.9
        return min(max(mean, self._shortest), LONGEST)

    def next(self, kind: Kind, polls: int) -> timedelta:
        """The time from one poll to the next: 1.6 times longer each time, at most 5 minutes."""
        begin = _OF_SANDBOX if kind[0] == SANDBOX_ACCOUNT else self._poll_after
        if usual := self._usual.get(kind):
            begin = max(min(begin, timedelta(seconds=usual.mean)), self._shortest)
        return min(begin * 1.6 ** min(polls, 30), max(_LONGEST_PAUSE, self._poll_after))


def patience_with(
    connection: Connection, providers: Sequence[str], poll_after: timedelta, *, callbacks: bool = True
) -> Patience:
    rows = _OF_PROVIDERS.each(connection, sorted(set(providers)))
    known = {kind_of(row): Usual(row.seen, row.mean, row.variance) for row in rows if row.seen >= ENOUGH}
    return Patience(known, poll_after, callbacks=callbacks)


def kind_of(row: HasKind) -> Kind:
    return row.provider, row.operation, row.speed or None


def kind_of_attempt(one: Asked) -> Kind:
    """As `kind_of`, with the sandbox as a provider of its own."""
    provider, operation, speed = kind_of(one)
    return SANDBOX_ACCOUNT if one.account == SANDBOX_ACCOUNT else provider, operation, speed


def learn(connection: Connection, ended: Mapping[str, datetime]) -> None:
    """Learn from successful attempts, by id, with their times; last in a transaction, because others wait for it."""
    taken: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in _ENDED.each(connection, list(ended)):
        # Never negative: the clock of another machine may be behind.
        seconds = max(0.0, (ended[row.id] - row.sent_at).total_seconds())
        taken[row.provider, row.operation, row.speed or ""].append(seconds)
    for kind, all_seconds in sorted(taken.items()):
        key = dict(zip(_KEY, kind, strict=True))
        # If the row is locked, its holder is learning something, too: no outcome waits for a statistic.
        known = _MINE.first(connection, **key)
        usual = Usual(known.seen, known.mean, known.variance) if known else Usual()
        for seconds in all_seconds:
            usual = usual.after(seconds)
        values = {"seen": usual.seen, "mean": usual.mean, "variance": usual.variance}
        if known:
            update_row(connection, durations, key, **values)
        else:
            connection.execute(insert_ignoring(connection, durations), [key | values])
