"""The tables of access: tokens, people and their sessions, idempotency keys, and who did what."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, Table

from worker.ledger.schema.partial_index import partial_index
from worker.ledger.schema.tables import metadata
from worker.ledger.schema.types import CleanText, Json, UtcDateTime

# The condition of a partial index, as text (see `tables.py`).
VALID = "revoked_at IS NULL"
PRESENT = "removed_at IS NULL"

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    # The hash of the whole token, which is shown once and stored nowhere; and its first characters, by which people
    # recognize it.
    Column("sha256", CleanText, nullable=False, unique=True),
    Column("hint", CleanText, nullable=False),
    Column("scopes", Json, nullable=False),
    # A test token: its generations go to the sandbox provider and cost nothing.
    Column("is_test", Boolean, nullable=False),
    # A rate limit, as `limits` writes it; None for the setting.
    Column("rate", CleanText),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", CleanText, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("used_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)
partial_index("uq_api_tokens_name", api_tokens.c.name, unique=True, where=VALID)

# The people who may use the console.
users = Table(
    "users",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    # `viewer` or `operator`.
    Column("role", CleanText, nullable=False),
    # In argon2's format, with salt and parameters; None: this user can sign in only through a proxy.
    Column("password_hash", CleanText),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", CleanText, nullable=False),
    Column("logged_in_at", UtcDateTime),
    Column("removed_at", UtcDateTime),
)
partial_index("uq_users_name", users.c.name, unique=True, where=PRESENT)

# Signed-in users: one row for each browser.
sessions = Table(
    "sessions",
    metadata,
    # The hash of the cookie, which only the browser has.
    Column("sha256", CleanText, primary_key=True),
    Column("user_id", CleanText, ForeignKey("users.id"), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
)
Index("ix_sessions_user", sessions.c.user_id)
Index("ix_sessions_expires", sessions.c.expires_at)

# Requests that must not be carried out twice. The row is written in the transaction that carries out the request; if
# that takes several, before the first of them, with a lease.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    # The id of the token; keys of different tokens are unrelated.
    Column("owner", CleanText, primary_key=True),
    Column("key", CleanText, primary_key=True),
    Column("request_sha256", CleanText, nullable=False),
    # What the request created; None while it is in progress.
    Column("result", Json),
    Column("lease_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("ix_idempotency_keys_created", idempotency_keys.c.created_at)

# Every requested write, recorded before it is carried out.
actions = Table(
    "actions",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    # Which interface (`api`, `console`), and who: the name of a token or a user.
    Column("door", CleanText, nullable=False),
    Column("actor", CleanText, nullable=False),
    Column("action", CleanText, nullable=False),
    Column("subject", CleanText),
    # The HTTP status; None if there was no response.
    Column("status", Integer),
    Column("request_id", CleanText),
)
