"""What a person who decides approvals one after another sees: what is pending, where, and who decided what."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from tasks.usecases.approval_page import ApprovalPage, page_of
from tasks.usecases.approvals import Approval, ApprovalState, with_generations
from tasks.usecases.names import find_batch
from tasks.usecases.services import LedgerServices
from worker.generation import Generation
from worker.ledger.approvals import ReviewGroup, ReviewPlace
from worker.services import Services

__all__ = ["HELD_FOR", "LatestDecision", "ReviewFilter", "ReviewGroup", "ReviewPlace", "ReviewQueue", "Reviewed",
           "latest_decisions", "queue_of", "review"]  # fmt: skip

#: how long a decision's follow-ups are held back, so that it can be undone
HELD_FOR = timedelta(seconds=20)
#: batches and recipes to choose from
_GROUPS = 100


@dataclass(frozen=True, slots=True)
class ReviewFilter:
    """Filter by batch (its name or id) and by recipe name."""

    batch: str | None = None
    recipe: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewQueue:
    """`place`: within the filter; `batches`, `recipes`: those with pending decisions, to choose from."""

    place: ReviewPlace
    batches: Sequence[ReviewGroup]
    recipes: Sequence[ReviewGroup]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """One approval with its images, and the next pending one, whose images can be preloaded."""

    page: ApprovalPage
    next: ApprovalPage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestDecision:
    """`can_be_undone`: none of it has been sent, and its time is not over."""

    approval: Approval
    generation: Generation
    can_be_undone: bool


def queue_of(here: LedgerServices, chosen: ReviewFilter, at: str = "") -> ReviewQueue:
    """Return what is waiting for people, and the neighbors of `at`. Raises NotFound for an unknown batch."""
    batch_id = find_batch(here.ledger, chosen.batch) if chosen.batch else None
    approvals = here.ledger.approvals
    return ReviewQueue(
        place=approvals.review_place(at, batch_id, chosen.recipe),
        batches=approvals.review_batches(_GROUPS),
        recipes=approvals.review_recipes(_GROUPS),
    )


def review(here: Services, approval_id: str, place: ReviewPlace) -> Reviewed:
    """Return an approval for review. Raises NotFound."""
    following = place.after or (place.first if place.first != approval_id else None)
    return Reviewed(page=page_of(here, approval_id), next=page_of(here, following) if following else None)


def latest_decisions(here: LedgerServices, limit: int) -> Sequence[LatestDecision]:
    """Return the latest decisions, newest first."""
    found = with_generations(here, here.ledger.approvals.decisions(limit))
    sent = here.ledger.approvals.sent_of(sorted({one.generation.id for one in found}))
    now = here.clock()
    return [
        LatestDecision(
            approval=one.approval,
            generation=one.generation,
            can_be_undone=one.approval.state is not ApprovalState.EXPIRED
            and one.approval.task is None
            and one.approval.expires_at > now
            and (one.generation.id, one.approval.step) not in sent,
        )
        for one in found
    ]
