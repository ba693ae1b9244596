"""Approvals: pending ones, and deciding them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tasks.deciding import pick
from tasks.deciding import reject as reject_approval
from tasks.usecases.names import find_generation
from tasks.usecases.person import Person
from tasks.usecases.services import LedgerServices
from worker.errors import AlreadyDecided, NotFound, NotPossible, RequestInvalid, TooLate
from worker.generation import Generation, iso
from worker.ledger.approvals import Approval, ApprovalState, Decided
from worker.services import Services
from worker.steps import Step

__all__ = ["Approval", "ApprovalPage", "ApprovalState", "Approved", "PendingApproval", "Undone", "approve",
           "find_approval", "pending", "pending_page", "reject", "undo"]  # fmt: skip

#: approvals read at once
_PAGE = 200


@dataclass(frozen=True, slots=True)
class PendingApproval:
    approval: Approval
    generation: Generation


@dataclass(frozen=True, slots=True)
class ApprovalPage:
    """A page of approvals. `next`: the id after which the next page begins; None on the last page."""

    approvals: Sequence[PendingApproval]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """A decided approval.

    `is_new`: False if the same decision was made before. `wakes`: the steps that now have work.
    """

    approval: Approval
    is_new: bool
    created: int
    wakes: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Undone:
    """The approval, which is pending again, and how many follow-ups were cancelled."""

    approval: Approval
    cancelled: int


def pending(here: LedgerServices) -> Iterator[PendingApproval]:
    """Yield pending approvals, oldest first."""
    after = ""
    while page := here.ledger.approvals.pending(_PAGE, after):
        yield from with_generations(here, page)
        after = page[-1].id


def pending_page(here: LedgerServices, after: str | None, limit: int) -> ApprovalPage:
    """Return a page of pending approvals, oldest first."""
    found = here.ledger.approvals.pending(limit + 1, after or "")
    page = found[:limit]
    return ApprovalPage(with_generations(here, page), page[-1].id if len(found) > limit else None)


def with_generation(here: LedgerServices, approval: Approval) -> PendingApproval:
    (found,) = with_generations(here, [approval])
    return found


def with_generations(here: LedgerServices, approvals: Sequence[Approval]) -> list[PendingApproval]:
    ids = list(dict.fromkeys(one.generation_id for one in approvals))
    known = {one.id: one for one in here.ledger.generations.get(ids)} if ids else {}
    return [PendingApproval(one, known[one.generation_id]) for one in approvals]


def find_approval(here: LedgerServices, name: str) -> Approval:
    """Return the approval with this id, or a generation's: the pending one, else the last.

    Raises NotFound; RequestInvalid if several are pending.
    """
    if name.startswith("apr_"):
        return here.ledger.approvals.get(name)
    generation_id = find_generation(here.ledger, name)
    found = here.ledger.approvals.of_generation(generation_id)
    if not found:
        raise NotFound(f"no decision about {generation_id} is waiting")
    waiting = [one for one in found if one.state is ApprovalState.ASKED]
    if len(waiting) > 1:
        listed = ", ".join(f"{one.id} (step {one.step})" for one in waiting)
        raise RequestInvalid(f"several decisions about {generation_id} are waiting; give one of {listed}")
    return (waiting or found)[-1]


def approve(
    here: Services, name: str, images: Sequence[int], person: Person, *, held_for: timedelta = timedelta()
) -> Approved:
    """Pick these images and create their follow-ups, which are submitted only after `held_for`.

    Raises RequestInvalid for images that do not exist, AlreadyDecided after a different decision, TooLate if the time
    to decide is over, and as `find_approval`.
    """
    numbers = sorted(set(images))
    approval = find_approval(here, name)
    if not numbers:
        raise RequestInvalid("give the numbers of the images to pick, such as 2,4; or reject all of them")
    if approval.state is not ApprovalState.ASKED:
        return _repeated(approval, ApprovalState.DECIDED, numbers)
    decided = pick(here, approval, numbers, by=person.name, why=person.why, held_for=held_for)
    return _approved(decided, ApprovalState.DECIDED, numbers)


def reject(here: Services, name: str, person: Person) -> Approved:
    """Pick none of the images. Raises as `approve`."""
    approval = find_approval(here, name)
    if approval.state is not ApprovalState.ASKED:
        return _repeated(approval, ApprovalState.REJECTED, [])
    return _approved(reject_approval(here, approval, by=person.name, why=person.why), ApprovalState.REJECTED, [])


def undo(here: LedgerServices, name: str, person: Person) -> Undone:
    """Take the decision back: cancel what it created, so that the approval can be decided again.

    Raises NotPossible, and changes nothing, if any of it may have been sent, if the time to decide is over, or if a
    program decides; and as `find_approval`.
    """
    approval = find_approval(here, name)
    if approval.task is not None:
        raise NotPossible(f"the Celery task {approval.task} decided {approval.id}, and would not be asked again")
    cancelled = here.ledger.approvals.reopen(approval, person.name)
    return Undone(here.ledger.approvals.get(approval.id), cancelled)


def _approved(decided: Decided, to: ApprovalState, numbers: Sequence[int]) -> Approved:
    if not decided.is_new:
        return _repeated(decided.approval, to, numbers)
    wakes = (Step.DISPATCH, Step.ARCHIVE) if decided.created else ()
    return Approved(approval=decided.approval, is_new=True, created=decided.created, wakes=wakes)


def _repeated(approval: Approval, to: ApprovalState, numbers: Sequence[int]) -> Approved:
    """Accept the same decision again without effect; refuse a different one as too late."""
    if approval.state is to and list(approval.picked or ()) == list(numbers):
        return Approved(approval=approval, is_new=False, created=0, wakes=())
    if approval.state in {ApprovalState.ASKED, ApprovalState.EXPIRED}:
        raise TooLate(f"{approval.id} expired at {iso(approval.expires_at)}: nobody decided in time")
    raise AlreadyDecided(f"{approval.id} was {in_words(approval)}")


def in_words(approval: Approval) -> str:
    """`decided at 2026-11-29T12:00:00.000Z by ada: images 2, 4`; for a decided approval."""
    picked = f": images {', '.join(map(str, approval.picked))}" if approval.picked else ""
    return f"{approval.state} at {iso(approval.decided_at)} by {approval.decided_by}{picked}"
