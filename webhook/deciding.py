"""Decisions sent in a form, at both doors where people decide."""

from datetime import datetime, timedelta

from werkzeug.datastructures import MultiDict

from tasks.usecases import approvals
from tasks.usecases.approvals import Approval, ApprovalState, Approved
from tasks.usecases.person import Person
from worker.errors import RequestInvalid
from worker.services import Services


def decide(
    here: Services, approval_id: str, form: MultiDict[str, str], who: Person, *, held_for: timedelta = timedelta()
) -> Approved:
    """Approve or reject, as the form says. Raises RequestInvalid if it says neither, and as `approve` does."""
    match form.get("decision"):
        case "reject":
            return approvals.reject(here, approval_id, who)
        case "approve":
            picked = form.getlist("pick")
            if not all(one.isascii() and one.isdigit() and len(one) < 5 for one in picked):
                raise RequestInvalid("give the images as numbers, counted from 1")
            if not picked:
                raise RequestInvalid("select at least one image, or reject all of them")
            return approvals.approve(here, approval_id, [int(one) for one in picked], who, held_for=held_for)
    raise RequestInvalid("choose whether to approve or to reject")


def state_now(approval: Approval, now: datetime) -> ApprovalState:
    """Return its state; expired as soon as its time is up, even before a worker has noticed."""
    is_over = approval.state is ApprovalState.ASKED and approval.expires_at <= now
    return ApprovalState.EXPIRED if is_over else approval.state
