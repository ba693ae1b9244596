"""Compares this machine's clock with the clocks of the ledger's database and the broker.

With a database server, only logs and S3 signatures depend on the machine's own clock.
"""

from datetime import UTC, datetime, timedelta

from worker.ledger.database import system_clock
from worker.wakeup import broker

#: smaller differences are not reported
TOLERANCE = timedelta(seconds=5)


def broker_error() -> timedelta:
    """Return how far this machine's clock is ahead of the broker's; raises RedisError or OSError."""
    seconds, microseconds = broker().time()
    return system_clock() - (datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds))


def complaint(whose: str, error: timedelta | None) -> str | None:
    """Return a sentence if the clocks differ, with the remedy; None if they agree or the difference is unknown."""
    if error is None or abs(error) <= TOLERANCE:
        return None
    how = "ahead of" if error > timedelta() else "behind"
    return (
        f"this machine's clock is {abs(error).total_seconds():.0f} s {how} the {whose}'s: "
        "synchronize both with NTP (`timedatectl` shows the status)"
    )
