"""The tables of the rate limits and capacity of the providers' accounts, shared by all machines."""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, Table

from worker.ledger.schema.partial_index import partial_index
from worker.ledger.schema.tables import metadata
from worker.ledger.schema.types import CleanText, UtcDateTime

provider_limits = Table(
    "provider_limits",
    metadata,
    # Locked while dispatching to this provider.
    Column("provider", CleanText, primary_key=True),
    # How many generations were dispatched: the virtual time of its flows.
    Column("turn", BigInteger, nullable=False),
    Column("prices", CleanText),
)

flows = Table(
    "flows",
    metadata,
    Column("provider", CleanText, primary_key=True),
    Column("priority", Integer, primary_key=True),
    # The id of a batch; empty for generations without one.
    Column("flow", CleanText, primary_key=True),
    # As in `generations`: one row for each account that some generation of this flow must go to.
    Column("pinned", CleanText, primary_key=True),
    # When it last had a dispatch, in virtual time: the flow with the smallest turn is next.
    Column("turn", BigInteger, nullable=False),
    # Set while it has something held and nothing waiting, or its batch is stopped: it keeps its turn, and is skipped.
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
# To put all rows of a batch to sleep, or wake them, together.
Index("ix_flows_flow", flows.c.flow)

accounts = Table(
    "accounts",
    metadata,
    Column("provider", CleanText, primary_key=True),
    Column("account", CleanText, primary_key=True),
    # The token bucket is here and not in Redis, which would forget what was spent when it is flushed.
    Column("tokens", Float, nullable=False),
    Column("refilled_at", UtcDateTime, nullable=False),
    Column("paused_until", UtcDateTime),
    Column("pause_reason", CleanText),
    Column("paused_at", UtcDateTime),
    # Identifies its key (`key_mark`), if that is the reason: another key ends the pause.
    Column("paused_key", CleanText),
    # The fraction of the rate in use: reduced after "too many requests", then growing again.
    Column("factor", Float, nullable=False),
    Column("shrunk_at", UtcDateTime),
    # The circuit breaker: failures in a row, how often it has opened since it was closed, until when, and the
    # generation whose submission probes whether the provider works again.
    Column("failures", Integer, nullable=False),
    Column("openings", Integer, nullable=False),
    Column("open_until", UtcDateTime),
    Column("opened_at", UtcDateTime),
    Column("probe", CleanText),
)
