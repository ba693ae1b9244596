"""The tables of rate limits and capacity of the providers' accounts, shared by all machines."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, Table

from worker.ledger.schema.partial_index import partial_index
from worker.ledger.schema.tables import metadata
from worker.ledger.schema.types import CleanText, UtcDateTime

provider_limits = Table(
    "provider_limits",
    metadata,
    # Locked while dispatching to this provider.
    Column("provider", CleanText, primary_key=True),
    # How many were dispatched: the virtual time of its flows.
    Column("turn", BigInteger, nullable=False),
    Column("prices", CleanText),
)

flows = Table(
    "flows",
    metadata,
    Column("provider", CleanText, primary_key=True),
    Column("priority", Integer, primary_key=True),
    # The id of a batch; empty for all that belong to none.
    Column("flow", CleanText, primary_key=True),
    # As in `generations`: a row for each account to which something of this flow must go.
    Column("pinned", CleanText, primary_key=True),
    # When one of it was dispatched last: the flow with the smallest turn is next.
    Column("turn", BigInteger, nullable=False),
    # Set while nothing of it waits and something is held, or its batch is stopped: it keeps its turn, and is not looked
    # at.
    Column("asleep_since", UtcDateTime),
)
#: the condition of a partial index, as text (see `tables.py`)
AWAKE = "asleep_since IS NULL"
partial_index(
    "ix_flows_awake",
    flows.c.provider,
    flows.c.pinned,
    flows.c.priority.desc(),
    flows.c.turn,
    flows.c.flow,
    where=AWAKE,
)
# All of one batch, to put to sleep or to wake together.
Index("ix_flows_flow", flows.c.flow)

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
    Column("paused_at", UtcDateTime),
    # What tells its key from any other (`key_mark`), where that is the reason: another key ends the pause.
    Column("paused_key", CleanText),
    # After "too many requests": this fraction of the rate, which then grows.
    Column("factor", Float, nullable=False),
    Column("shrunk_at", UtcDateTime),
    # The circuit breaker: failures in a row, how often it has opened since it was closed, until when, and the
    # generation whose submission tries whether the provider works again.
    Column("failures", Integer, nullable=False),
    Column("openings", Integer, nullable=False),
    Column("open_until", UtcDateTime),
    Column("opened_at", UtcDateTime),
    Column("probe", CleanText),
)
