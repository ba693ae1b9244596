"""The tables of access: tokens, idempotency keys, and who did what."""

from sqlalchemy import Boolean, Column, Index, Integer, Table, text

from worker.ledger.schema.tables import metadata
from worker.ledger.schema.types import CleanText, Json, UtcDateTime

# The condition of a partial index, as text (see `tables.py`).
VALID = "revoked_at IS NULL"

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    # Of the whole token, which is shown once and kept nowhere; and its first characters, by which people know it.
    Column("sha256", CleanText, nullable=False, unique=True),
    Column("hint", CleanText, nullable=False),
    Column("scopes", Json, nullable=False),
    # What it creates goes to the sandbox provider and costs nothing.
    Column("is_test", Boolean, nullable=False),
    # Requests per time, in the words of `limits`; None for the setting.
    Column("rate", CleanText),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", CleanText, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)
Index("uq_api_tokens_name", api_tokens.c.name, unique=True, sqlite_where=text(VALID), postgresql_where=text(VALID))

# Requests that must not be carried out twice: written in the transaction that carries one out, or before the first of
# several, and then with a lease.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    # The id of the token; keys of different tokens have nothing to do with each other.
    Column("owner", CleanText, primary_key=True),
    Column("key", CleanText, primary_key=True),
    Column("request_sha256", CleanText, nullable=False),
    # What was made; None while it is being carried out.
    Column("result", Json),
    Column("lease_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("ix_idempotency_keys_created", idempotency_keys.c.created_at)

# Every write that somebody asked for, written down before it is carried out.
actions = Table(
    "actions",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    # By which front door (`api`, `console`), and who: the name of a token or a user.
    Column("door", CleanText, nullable=False),
    Column("actor", CleanText, nullable=False),
    Column("action", CleanText, nullable=False),
    Column("subject", CleanText),
    # The HTTP status; None if it was not answered.
    Column("status", Integer),
    Column("request_id", CleanText),
)
