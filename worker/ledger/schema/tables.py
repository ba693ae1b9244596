"""The tables of the ledger. Everything that must survive is a row here, committed before anything else happens."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    UniqueConstraint,
    text,
)

from worker.generation import ASIDE, LIVE_ATTEMPTS, AssetState, AttemptState, State, ThumbnailState, Verdict
from worker.ledger.schema.partial_index import partial_index
from worker.ledger.schema.types import CleanText, Json, UtcDateTime, in_states
from worker.secrets import DEFAULT_ACCOUNT

#: the deadline of an asset that never expires: a text, whose content is stored here
NEVER = datetime(9999, 1, 1, tzinfo=UTC)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column declared exactly INTEGER PRIMARY KEY.
RowId = BigInteger().with_variant(Integer, "sqlite")

batches = Table(
    "batches",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("completed_at", UtcDateTime),
    # How often it has completed: work in it may resume after all, and then it completes again.
    Column("completions", Integer, nullable=False, server_default="0"),
    # When its manifest was written; who is writing it now, and until when nobody else may.
    Column("manifest_at", UtcDateTime),
    Column("manifest_lease", CleanText),
    Column("manifest_not_before", UtcDateTime),
    # While it is being written down (`generations/unfinished.py`): the identity of its request (None: abandoned, and
    # being removed), and when writing last progressed.
    Column("unfinished", CleanText),
    Column("unfinished_at", UtcDateTime),
    # Its name, if unique, so that the name finds it. None if several batches may share the name.
    Column("unique_name", CleanText),
    # The file that it was created from: its name and the digest of its bytes.
    *(Column(name, CleanText) for name in ("source", "source_sha256")),
    # How a person controls it: none of its generations are dispatched while it is paused, while `start_at` is set
    # (until the clock has started it), beyond `max_cost` (millionths), or while `max_in_flight` of them are at
    # providers.
    *(Column(name, UtcDateTime) for name in ("paused_at", "start_at")),
    Column("max_cost", BigInteger),
    Column("max_in_flight", Integer),
)

generations = Table(
    "generations",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("batch_id", CleanText, ForeignKey("batches.id")),
    Column("parent_id", CleanText, ForeignKey("generations.id")),
    Column("depth", SmallInteger, nullable=False),
    Column("provider", CleanText, nullable=False),
    Column("operation", CleanText, nullable=False),
    Column("action", CleanText),
    Column("prompt", CleanText, nullable=False),
    Column("options", Json, nullable=False),
    # What the price depends on; the price itself is in millionths.
    *(Column(name, CleanText) for name in ("speed", "version")),
    # Which budget has no room for it (`BudgetKind`), at the prices with this digest.
    *(Column(name, CleanText) for name in ("held", "held_prices")),
    # The label, such as `client=acme`, if it is a label's budget.
    Column("held_label", CleanText),
    # None if written by a version that did not know extras (`budget/tiers.py`).
    Column("extras", Json),
    Column("price", BigInteger),
    Column("follow_up", Json, nullable=False),
    Column("priority", Integer, nullable=False),
    # The position within its flow (`flows`), so that an index finds what to dispatch next.
    Column("turn", BigInteger, nullable=False),
    Column("key", CleanText),
    # Makes a repeated creation harmless: the caller's key, or a follow-up's parent and action.
    Column("dedupe", CleanText, unique=True),
    Column("state", CleanText, nullable=False),
    Column("task_id", CleanText),
    Column("progress", SmallInteger),
    Column("reason", CleanText),
    Column("message", CleanText),
    Column("tries", Integer, nullable=False),
    Column("actions", Json, nullable=False),
    # The parent's handle at the provider, and this generation's own for its follow-ups.
    Column("parent_handle", Json, nullable=False),
    Column("handle", Json, nullable=False),
    # The account that it went to; the only one it may go to. The latter is not NULL, so that PostgreSQL can read the
    # line in index order.
    Column("account", CleanText),
    Column("pinned", CleanText, nullable=False, server_default=text("''")),
    Column("not_before", UtcDateTime),
    Column("dispatched_at", UtcDateTime),
    Column("followed_up_at", UtcDateTime),
    # How often creating its follow-ups failed, the last error, and when the next try is.
    Column("follow_up_tries", Integer, nullable=False, server_default="0"),
    Column("follow_up_error", CleanText),
    Column("follow_up_not_before", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    Column("submitted_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    # The user's own columns of its row, returned unchanged, and the choice that a template made (`_choice`).
    Column("input", Json),
    # The row's position in the user's file, from 1, no matter which rows were submitted; a hash that reveals a changed
    # row; and the version of the row, from 1.
    Column("row_number", Integer),
    Column("row_sha256", CleanText),
    Column("row_version", Integer),
    # The alternative providers, in this order, while it has never been sent. None: no alternative.
    Column("providers", Json),
    # Its previous providers, and why it moved on: a list of `worker.generation.ProviderChange`.
    Column("provider_changes", Json),
    # The recipe that it follows (`recipes`), the recipe's name, and the step that created this generation (None: it was
    # submitted).
    *(Column(name, CleanText) for name in ("recipe", "recipe_name", "step")),
    # When the recipe's steps after its failure, success and archiving were done. Separate from `followed_up_at`, which
    # is set from the start: a version that does not know recipes must not treat the steps as done.
    *(Column(name, UtcDateTime) for name in ("followed_failure_at", "followed_success_at", "followed_archive_at")),
)

#: `pinned` of a generation that may go to any account of its provider
ANY_ACCOUNT = ""
#: the flow of a generation: its batch, or one flow for all without a batch
FLOW = "coalesce(batch_id, '')"

# The conditions of the partial indexes, as text: a planner uses such an index only for a query with the same words, and
# bound parameters hide them.
_QUEUED = in_states("state", [State.QUEUED])
WAITING = f"{_QUEUED} AND dispatched_at IS NULL AND held IS NULL"
DISPATCHED = f"{_QUEUED} AND dispatched_at IS NOT NULL"
AT_PROVIDER = in_states("state", [State.SUBMITTING, State.SUBMITTED, State.UNCONFIRMED])
IN_FLIGHT = f"({AT_PROVIDER}) OR ({DISPATCHED})"
#: generations that were never sent and may go to another provider
FAILING_OVER = f"{_QUEUED} AND dispatched_at IS NULL AND providers IS NOT NULL"
FOLLOW_UP_DUE = f"{in_states('state', [State.ARCHIVED])} AND followed_up_at IS NULL"
#: generations whose recipe has steps due
RECIPE_DUE = (
    f"recipe IS NOT NULL AND (({in_states('state', [State.FAILED])} AND followed_failure_at IS NULL) OR "
    f"({in_states('state', [State.SUCCEEDED, State.ARCHIVED, State.EXPIRED])} AND followed_success_at IS NULL) OR "
    f"({in_states('state', [State.ARCHIVED])} AND followed_archive_at IS NULL))"
)
#: generations that may have stored assets
WITH_RESULTS = in_states("state", [State.SUCCEEDED, State.EXPIRED, State.ARCHIVED])
#: abandoned: it counts as followed up, and a person may retry it
FOLLOW_UP_REFUSED = "follow_up_error IS NOT NULL AND followed_up_at IS NOT NULL"
LIVE = in_states("state", LIVE_ATTEMPTS)
SENDING = in_states("state", [AttemptState.SENDING])
POLLED = "poll_at IS NOT NULL"
UNAPPLIED = "applied_at IS NULL"
SET_ASIDE = in_states("verdict", ASIDE)
#: callbacks that are never read again
DONE_WITH = in_states("verdict", [Verdict.APPLIED, Verdict.IGNORED, Verdict.DISMISSED])
UNSTORED = in_states("state", [AssetState.WAITING])
#: the same in words that no index has, for assets of given generations: with statistics from before very many assets
#: were in that state, PostgreSQL would expect none, use that index, and read them all for each generation
UNSTORED_OF_THESE = in_states("(state || '')", [AssetState.WAITING])
#: assets that were tried and not stored
TROUBLED = f"{UNSTORED} AND error IS NOT NULL"
STORED = in_states("state", [AssetState.STORED])
#: assets in the bucket whose link is still known
LINKED = f"{STORED} AND url <> ''"
#: images in the bucket whose thumbnail is wanted
UNMADE = f"{in_states('thumbnail', [ThumbnailState.WANTED])} AND {STORED}"
#: assets whose refused bytes are kept aside in the bucket
REFUSED = "refused_bytes IS NOT NULL"
UNDESCRIBED = "completed_at IS NOT NULL AND manifest_at IS NULL"
UNFINISHED = "unfinished_at IS NOT NULL"
_REQUESTED = "unfinished IS NOT NULL"
INCOMPLETE = "completed_at IS NULL"
STARTING = "start_at IS NOT NULL"
#: batches whose generations are not dispatched now
STOPPED = f"(paused_at IS NOT NULL OR {STARTING})"

# For lists of one state. An index on the bare column would do as well, but SQLite would then also use it for the due
# work above, and read every generation in that state to find the few that are due.
BY_STATE = "(state || '')"


Index("ix_batches_name", batches.c.name, batches.c.id)
Index("uq_batches_unique_name", batches.c.unique_name, unique=True)
Index("ix_batches_source_sha256", batches.c.source_sha256, batches.c.id)
partial_index("ix_batches_manifest", batches.c.id, where=UNDESCRIBED)
partial_index("ix_batches_incomplete", batches.c.id, where=INCOMPLETE)
partial_index("ix_batches_starting", batches.c.start_at, where=STARTING)
# Two processes that write the same request write the same batch.
partial_index("uq_batches_unfinished", batches.c.unfinished, unique=True, where=_REQUESTED)
partial_index("ix_batches_unfinished_at", batches.c.unfinished_at, where=UNFINISHED)
_g = generations.c
# Listing a batch reads one state after another, each in order of id.
Index("ix_generations_batch_state", _g.batch_id, _g.state, _g.id)
Index("ix_generations_by_state", text(BY_STATE), _g.id)
partial_index("ix_generations_key", _g.key, _g.id, where="key IS NOT NULL")
partial_index("ix_generations_row", _g.batch_id, _g.row_number, _g.id, where="row_number IS NOT NULL")
partial_index("ix_generations_failing_over", _g.provider, _g.id, where=FAILING_OVER)
Index("ix_generations_parent", _g.parent_id)
partial_index("ix_generations_finished", _g.finished_at, where=WITH_RESULTS)
partial_index("ix_generations_waiting", _g.provider, _g.pinned, _g.priority, text(FLOW), _g.turn, _g.id, where=WAITING)
partial_index("ix_generations_dispatched", _g.dispatched_at, where=DISPATCHED)
partial_index("ix_generations_in_flight", _g.provider, _g.account, where=IN_FLIGHT)
partial_index("ix_generations_follow_up", _g.batch_id, where=FOLLOW_UP_DUE)
partial_index("ix_generations_recipe_due", _g.batch_id, where=RECIPE_DUE)
partial_index("ix_generations_follow_up_refused", _g.id, where=FOLLOW_UP_REFUSED)

attempts = Table(
    "attempts",
    metadata,
    # 128 random bits: part of the callback URL, so it exists before the POST.
    Column("id", CleanText, primary_key=True),
    Column("generation_id", CleanText, ForeignKey("generations.id"), nullable=False),
    Column("provider", CleanText, nullable=False),
    Column("account", CleanText, nullable=False, server_default=DEFAULT_ACCOUNT),
    Column("number", Integer, nullable=False),
    # `AttemptState`
    Column("state", CleanText, nullable=False),
    Column("task_id", CleanText),
    Column("error", CleanText),
    Column("sent_at", UtcDateTime, nullable=False),
    Column("lease_until", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    # When to poll it next, whatever its generation's state, while its outcome is unknown and its provider may report
    # it; and how often it was polled.
    Column("poll_at", UtcDateTime),
    Column("polls", Integer, nullable=False, server_default="0"),
    # Tasks in the provider's list that may be this attempt; a person decides.
    Column("candidates", Json),
    # How many of its callbacks were refused (`outcome/callbacks.py`).
    Column("callbacks_refused", Integer, nullable=False, server_default="0"),
    UniqueConstraint("provider", "task_id"),
)
# The double-payment lock: whatever the code does, the database refuses a second live attempt.
partial_index("uq_attempts_live", attempts.c.generation_id, unique=True, where=LIVE)
Index("ix_attempts_generation", attempts.c.generation_id, attempts.c.number)
partial_index("ix_attempts_sending", attempts.c.lease_until, where=SENDING)
partial_index("ix_attempts_poll", attempts.c.poll_at, where=POLLED)

callbacks = Table(
    "callbacks",
    metadata,
    Column("id", RowId, primary_key=True),
    # No foreign key: after a restore from backup, an authentic callback may name an attempt that the ledger has lost.
    Column("attempt_id", CleanText, nullable=False),
    Column("provider", CleanText, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("remote_address", CleanText),
    Column("headers", Json, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("digest", CleanText, nullable=False),
    Column("applied_at", UtcDateTime),
    # `Verdict`
    Column("verdict", CleanText),
    Column("error", CleanText),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("not_before", UtcDateTime),
    UniqueConstraint("attempt_id", "digest"),
)
partial_index("ix_callbacks_due", callbacks.c.id, where=UNAPPLIED)
partial_index("ix_callbacks_set_aside", callbacks.c.id, where=SET_ASIDE)
partial_index("ix_callbacks_done_with", callbacks.c.applied_at, where=DONE_WITH)

assets = Table(
    "assets",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("generation_id", CleanText, ForeignKey("generations.id"), nullable=False),
    Column("index", Integer, nullable=False),
    Column("kind", CleanText, nullable=False),
    # Empty once pruned, and for a text, whose content came with the outcome.
    Column("url", CleanText, nullable=False),
    Column("content", Json),
    Column("deadline", UtcDateTime, nullable=False),
    # When the approaching deadline was reported.
    Column("at_risk_at", UtcDateTime),
    # `AssetState`
    Column("state", CleanText, nullable=False),
    # Who is working on it now; and how many workers in a row have died doing so.
    Column("lease", CleanText),
    Column("deaths", Integer, nullable=False, server_default="0"),
    Column("not_before", UtcDateTime),
    Column("tries", Integer, nullable=False),
    Column("renewals", Integer, nullable=False),
    # Why it is not stored: a code for programs (`worker.generation.Trouble`), and a sentence with the remedy.
    Column("reason", CleanText),
    Column("error", CleanText),
    # Refused bytes kept aside in the bucket; and who decided to archive them anyway.
    Column("refused_bytes", BigInteger),
    *(Column(name, CleanText) for name in ("refused_sha256", "refused_type", "refused_why", "accepted_by")),
    # How the bytes in the bucket were verified, and what is unusual about them.
    *(Column(name, CleanText) for name in ("verified", "remark")),
    Column("accepted_at", UtcDateTime),
    Column("object_key", CleanText),
    Column("sha256", CleanText),
    # The hash of the received bytes if others were stored: with a provenance statement written into them.
    Column("source_sha256", CleanText),
    Column("bytes", BigInteger),
    Column("content_type", CleanText),
    Column("width", Integer),
    Column("height", Integer),
    # The length of a video.
    Column("seconds", Float),
    # `ThumbnailState`; when it is due, who is making it now, and how often it was tried.
    Column("thumbnail", CleanText),
    Column("thumbnail_at", UtcDateTime),
    Column("thumbnail_lease", CleanText),
    Column("thumbnail_tries", Integer, nullable=False, server_default="0"),
    *(Column(name, Integer) for name in ("thumbnail_bytes", "thumbnail_width", "thumbnail_height")),
    # The average color, 0xRRGGBB; and the 64-bit hash, as a signed number.
    Column("colour", Integer),
    Column("dhash", BigInteger),
    UniqueConstraint("generation_id", "index"),
)
partial_index("ix_assets_due", assets.c.deadline, where=UNSTORED)
partial_index("ix_assets_troubled", assets.c.deadline, where=TROUBLED)
partial_index("ix_assets_free", assets.c.not_before, assets.c.deadline, where=UNSTORED)
partial_index("ix_assets_sha256", assets.c.sha256, assets.c.id, where=STORED)
partial_index("ix_assets_refused", assets.c.refused_bytes, where=REFUSED)
partial_index("ix_assets_linked", assets.c.deadline, where=LINKED)
partial_index("ix_assets_unmade", assets.c.thumbnail_at, assets.c.id, where=UNMADE)

transitions = Table(
    "transitions",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("generation_id", CleanText, ForeignKey("generations.id"), nullable=False),
    Column("from", CleanText),
    Column("to", CleanText, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("cause", CleanText, nullable=False),
)
Index("ix_transitions_generation", transitions.c.generation_id, transitions.c.id)

events = Table(
    "events",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("type", CleanText, nullable=False),
    Column("generation_id", CleanText),
    Column("batch_id", CleanText),
    Column("payload", Json, nullable=False),
)
Index("ix_events_generation", events.c.generation_id, events.c.id)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("worker", CleanText, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    # The ledger revision that its code expects; code older than 0016 does not record it.
    Column("revision", CleanText, nullable=False, server_default="0015"),
    # Settings that must be the same everywhere: name → value.
    Column("limits", Json),
)

# Up to when rows of this kind were deleted: distinguishes deleted rows from rows that never existed.
prunes = Table(
    "prunes",
    metadata,
    Column("kind", CleanText, primary_key=True),
    Column("before", UtcDateTime, nullable=False),
    # In the row for all kinds: when the last pass over them ended.
    Column("ended_at", UtcDateTime),
)

# How long generations usually take (`submission/durations.py`).
durations = Table(
    "durations",
    metadata,
    Column("provider", CleanText, primary_key=True),
    Column("operation", CleanText, primary_key=True),
    # Empty if the request did not name one.
    Column("speed", CleanText, primary_key=True),
    Column("seen", Integer, nullable=False),
    # Seconds, and seconds squared.
    Column("mean", Float, nullable=False),
    Column("variance", Float, nullable=False),
)

# The restore guard's state.
gate = Table(
    "gate",
    metadata,
    # There is one row, created by the first comparison.
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("ledger", CleanText, nullable=False),
    Column("number", BigInteger, nullable=False),
    # When a comparison was last tried; and when one last found nothing against this ledger.
    Column("tried_at", UtcDateTime),
    Column("compared_at", UtcDateTime),
    Column("closed_at", UtcDateTime),
    Column("reason", CleanText),
    Column("opened_at", UtcDateTime),
    Column("opened_by", CleanText),
    # Set while it is closed only because the bucket is unreachable: since when this ledger has been idle.
    Column("idle_since", UtcDateTime),
)
