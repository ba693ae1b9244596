"""Whether the clock of this machine agrees with those of the ledger's database and of the broker.

Where the database is a server, work does not depend on the machine's own clock; logs and signatures for S3 do.
"""

from datetime import UTC, datetime, timedelta

from worker.celery import app
from worker.ledger.database import system_clock

#: less is told to nobody
TOLERANCE = timedelta(seconds=5)


def broker_error() -> timedelta:
    """How far this machine's clock is ahead of the broker's; raises what Celery does if that cannot be spoken to."""
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=0)
        seconds, microseconds = connection.default_channel.client.time()
    return system_clock() - (datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds))


def complaint(whose: str, error: timedelta | None) -> str | None:
    """That this machine's clock differs from that one's, and what to do; None if it does not, or nobody knows."""
    if error is None or abs(error) <= TOLERANCE:
        return None
    how = "ahead of" if error > timedelta() else "behind"
    return (
        f"this machine's clock is {abs(error).total_seconds():.0f} s {how} the {whose}'s: "
        "let NTP set both (`timedatectl` shows whether it does)"
    )
