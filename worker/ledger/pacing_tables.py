"""The tables of pace: what a provider's accounts may still take, shared by all machines."""

from sqlalchemy import BigInteger, Column, Float, Integer, Table

from worker.ledger.tables import metadata
from worker.ledger.types import CleanText, UtcDateTime

provider_limits = Table(
    "provider_limits",
    metadata,
    # Locked by whoever dispatches at this provider.
    Column("provider", CleanText, primary_key=True),
    Column("turn", BigInteger, nullable=False),
    Column("prices", CleanText),
)

accounts = Table(
    "accounts",
    metadata,
    Column("provider", CleanText, primary_key=True),
    Column("account", CleanText, primary_key=True),
    # The token bucket lives here and not in Redis, which forgets what it spent when it is flushed.
    Column("tokens", Float, nullable=False),
    Column("refilled_at", UtcDateTime, nullable=False),
    Column("paused_until", UtcDateTime),
    Column("pause_reason", CleanText),
    # After "too many requests": this part of the rate, which grows from then on.
    Column("factor", Float, nullable=False),
    Column("shrunk_at", UtcDateTime),
    # The circuit breaker: failures in a row, how often it has opened since it was closed, until when, and the
    # generation whose submission tries whether the provider works again.
    Column("failures", Integer, nullable=False),
    Column("openings", Integer, nullable=False),
    Column("open_until", UtcDateTime),
    Column("probe", CleanText),
)
