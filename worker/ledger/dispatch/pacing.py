"""An account's limits: token bucket, in-flight capacity, pause, reduced rate and circuit breaker."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, TypedDict

#: "too many requests" halves the rate, but never below this fraction
SMALLEST = 1 / 64
#: how long a reduced rate takes to grow back
REGROWTH = timedelta(minutes=5)
#: consecutive failures that open the breaker
FAILURES = 5
_FIRST_OPENING, _LONGEST_OPENING = timedelta(seconds=30), timedelta(minutes=5)
#: if the probe has no result after this time, another submission is sent
PROBE_PATIENCE = timedelta(seconds=90)
#: the longest pause of an account, whatever the provider says
LONGEST_PAUSE = timedelta(hours=1)
#: how far the clocks of two machines may differ without one of them being wrong
SLACK = timedelta(seconds=5)


class Account(NamedTuple):
    """A row of `accounts`."""

    provider: str
    account: str
    tokens: float
    refilled_at: datetime
    paused_until: datetime | None
    pause_reason: str | None
    paused_at: datetime | None
    paused_key: str | None
    factor: float
    shrunk_at: datetime | None
    failures: int
    openings: int
    open_until: datetime | None
    opened_at: datetime | None
    probe: str | None


class NewPace(TypedDict, total=False):
    """The changes to a row of `accounts`."""

    tokens: float
    refilled_at: datetime
    paused_until: datetime | None
    pause_reason: str | None
    paused_at: datetime | None
    paused_key: str | None
    factor: float
    shrunk_at: datetime | None
    failures: int
    openings: int
    open_until: datetime | None
    opened_at: datetime | None
    probe: str | None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each account. `rate`: new submissions per second; `in_flight`: concurrent submissions."""

    rate: float
    in_flight: int


def factor_of(account: Account, now: datetime) -> float:
    """Return the account's current fraction of its rate."""
    if account.shrunk_at is None:
        return 1.0
    since: timedelta = now - account.shrunk_at
    grown = max(timedelta(), since) / REGROWTH
    return min(1.0, float(account.factor) + (1 - float(account.factor)) * grown)


def burst(limits: Limits, factor: float = 1.0) -> float:
    return max(1.0, limits.rate * factor)


def tokens_of(account: Account, limits: Limits, now: datetime) -> float:
    factor = factor_of(account, now)
    elapsed = max(0.0, (now - account.refilled_at).total_seconds())
    filled: float = account.tokens + elapsed * limits.rate * factor
    return min(burst(limits, factor), filled)


def room_of(account: Account, limits: Limits, in_flight: int, now: datetime, *, is_probed: bool = True) -> int:
    """Return how many submissions the account accepts now. `is_probed`: whether its probe, if any, is in flight."""
    if account.paused_until is not None and account.paused_until > now:
        return 0
    waits = account.probe is None or is_probed
    if waits and account.open_until is not None and account.open_until > now:
        return 0
    room = max(0, min(int(tokens_of(account, limits, now)), limits.in_flight - in_flight))
    # The breaker is half open: a single probe shows whether the provider works again.
    return min(1, room) if account.open_until is not None else room


def is_slowed(account: Account, now: datetime) -> bool:
    is_paused = account.paused_until is not None and account.paused_until > now
    return is_paused or account.open_until is not None or factor_of(account, now) < 1


def spent(account: Account, limits: Limits, generation_ids: list[str], now: datetime) -> NewPace:
    """Return the changes to the account's row for these submissions."""
    # Never backward: a machine with a slow clock would let the others fill the bucket a second time.
    filled_at = max(account.refilled_at, now)
    values: NewPace = {"tokens": tokens_of(account, limits, now) - len(generation_ids), "refilled_at": filled_at}
    if account.open_until is not None:
        values |= {"probe": generation_ids[0], "open_until": now + PROBE_PATIENCE}
    return values


def put_right(account: Account, now: datetime) -> NewPace:
    """Return corrections to the account's row for times too far in the future, written by a wrong clock.

    Smaller differences stay; otherwise, machines with slightly different clocks would fill a bucket twice.
    """
    values: NewPace = {}
    if account.refilled_at > now + SLACK:
        values["refilled_at"] = now
    # A reduced rate grows from the end of the pause.
    longest_pause = now + LONGEST_PAUSE
    if account.paused_until is not None and account.paused_until > longest_pause:
        values["paused_until"] = longest_pause
    if account.shrunk_at is not None and account.shrunk_at > longest_pause:
        values["shrunk_at"] = longest_pause
    if account.open_until is not None and account.open_until > now + _LONGEST_OPENING:
        values["open_until"] = now + _LONGEST_OPENING
    return values


def open_for(openings: int) -> timedelta:
    """Return how long the breaker stays open for the n-th time in a row."""
    longer: int = 2 ** min(openings - 1, 9)
    return min(_FIRST_OPENING * longer, _LONGEST_OPENING)
