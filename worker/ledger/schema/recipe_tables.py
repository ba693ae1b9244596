"""The tables of recipes that generations follow, and of the decisions that their steps wait for."""

from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import Column, ForeignKey, Table, UniqueConstraint

from worker.ledger.schema.partial_index import partial_index
from worker.ledger.schema.tables import metadata
from worker.ledger.schema.types import CleanText, Json, UtcDateTime, in_states


class ApprovalState(StrEnum):
    #: waits for a decision
    ASKED = "asked"
    #: images were picked, perhaps by the step's default
    DECIDED = "decided"
    REJECTED = "rejected"
    #: nobody decided in time, and the step then does nothing
    EXPIRED = "expired"


APPROVAL_MOVES: Mapping[ApprovalState, frozenset[ApprovalState]] = {
    ApprovalState.ASKED: frozenset({ApprovalState.DECIDED, ApprovalState.REJECTED, ApprovalState.EXPIRED}),
    # Back to ASKED when the decision is withdrawn before any of it has been sent.
    **dict.fromkeys((ApprovalState.DECIDED, ApprovalState.REJECTED), frozenset({ApprovalState.ASKED})),
    ApprovalState.EXPIRED: frozenset(),
}

# The conditions of the partial indexes, as text (see `tables.py`).
ASKED = in_states("state", [ApprovalState.ASKED])
DECIDED = "decided_at IS NOT NULL"
UNSENT = f"{ASKED} AND task IS NOT NULL AND sent_at IS NULL"

recipes = Table(
    "recipes",
    metadata,
    # The hash of the document: a generation keeps the recipe that it started with, whatever happens to the file.
    Column("sha256", CleanText, primary_key=True),
    Column("name", CleanText, nullable=False),
    Column("document", Json, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

approvals = Table(
    "approvals",
    metadata,
    Column("id", CleanText, primary_key=True),
    Column("generation_id", CleanText, ForeignKey("generations.id"), nullable=False),
    # Its generation's batch, so that batches with open decisions are found quickly.
    Column("batch_id", CleanText),
    Column("step", CleanText, nullable=False),
    # `ApprovalState`
    Column("state", CleanText, nullable=False),
    # The Celery task that decides, and its queue; None: a person decides.
    *(Column(name, CleanText) for name in ("task", "queue")),
    # When the task was sent.
    Column("sent_at", UtcDateTime),
    # The numbers of the images to choose from, and of those picked.
    Column("images", Json, nullable=False),
    Column("picked", Json),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("decided_at", UtcDateTime),
    *(Column(name, CleanText) for name in ("decided_by", "why")),
    UniqueConstraint("generation_id", "step"),
)
for _name, _column, _condition in (
    ("ix_approvals_asked", approvals.c.expires_at, ASKED),
    ("ix_approvals_pending", approvals.c.id, ASKED),
    ("ix_approvals_batch", approvals.c.batch_id, ASKED),
    ("ix_approvals_unsent", approvals.c.id, UNSENT),
    ("ix_approvals_decided", approvals.c.decided_at, DECIDED),
):
    partial_index(_name, _column, where=_condition)
