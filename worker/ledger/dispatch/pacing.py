"""An account's limits: token bucket, in-flight capacity, pause, reduced rate and circuit breaker."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

#: "too many requests" halves the rate, but never below this part of it
SMALLEST = 1 / 64
#: the time in which a shrunken rate grows back
REGROWTH = timedelta(minutes=5)
#: so many failures in a row open the breaker
FAILURES = 5
_FIRST_OPENING, _LONGEST_OPENING = timedelta(seconds=30), timedelta(minutes=5)
#: if nothing is heard of the submission that tries it for so long, another one goes
PROBE_PATIENCE = timedelta(seconds=90)
#: no provider's word stops its account for longer
LONGEST_PAUSE = timedelta(hours=1)
#: how far the clocks of two machines may differ without one of them being wrong
SLACK = timedelta(seconds=5)

Account = Any  # a row of `accounts`


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each account. `rate`: new submissions per second; `in_flight`: concurrent submissions."""

    rate: float
    in_flight: int


def factor_of(account: Account, now: datetime) -> float:
    """Return the current fraction of its rate."""
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
    """Return how many submissions it accepts now. `is_probed`: its probe, if there is one, is still in flight."""
    if account.paused_until is not None and account.paused_until > now:
        return 0
    waits = account.probe is None or is_probed
    if waits and account.open_until is not None and account.open_until > now:
        return 0
    room = max(0, min(int(tokens_of(account, limits, now)), limits.in_flight - in_flight))
    # The breaker is half open: one shows whether the provider works again.
    return min(1, room) if account.open_until is not None else room


def is_slowed(account: Account, now: datetime) -> bool:
    is_paused = account.paused_until is not None and account.paused_until > now
    return is_paused or account.open_until is not None or factor_of(account, now) < 1


def spent(account: Account, limits: Limits, generation_ids: list[str], now: datetime) -> Mapping[str, Any]:
    """Return the changes in its row for these submissions."""
    # Never back: a machine whose clock is late would let the others fill it a second time.
    filled_at = max(account.refilled_at, now)
    values = {"tokens": tokens_of(account, limits, now) - len(generation_ids), "refilled_at": filled_at}
    probing = {"probe": generation_ids[0], "open_until": now + PROBE_PATIENCE}
    return values | probing if account.open_until is not None else values


def put_right(account: Account, now: datetime) -> Mapping[str, Any]:
    """Return the corrections in its row for times too far in the future, which a wrong clock has written.

    Smaller differences stay, or machines with slightly different clocks would fill a bucket twice.
    """
    latest = {
        "refilled_at": now + SLACK,
        "paused_until": now + LONGEST_PAUSE,
        # A shrunken rate grows from the end of the pause.
        "shrunk_at": now + LONGEST_PAUSE,
        "open_until": now + _LONGEST_OPENING,
    }
    ahead = [name for name, at in latest.items() if (moment := getattr(account, name)) is not None and moment > at]
    return {name: now if name == "refilled_at" else latest[name] for name in ahead}


def open_for(openings: int) -> timedelta:
    """Return how long the breaker stays open, the n-th time in a row."""
    longer: int = 2 ** min(openings - 1, 9)
    return min(_FIRST_OPENING * longer, _LONGEST_OPENING)
