"""Approvals as JSON."""

from typing import TYPE_CHECKING, Any

from worker.generation import iso
from worker.secrets import secrets_hidden

if TYPE_CHECKING:
    from tasks.usecases.approvals import Approval, Approved, PendingApproval


def of_approval(approval: "Approval") -> dict[str, Any]:
    return {
        "id": approval.id,
        "generation": approval.generation_id,
        "step": approval.step,
        "state": approval.state,
        "task": approval.task,
        "images": list(approval.images),
        "picked": None if approval.picked is None else list(approval.picked),
        "asked_at": iso(approval.asked_at),
        "expires_at": iso(approval.expires_at),
        "decided_at": iso(approval.decided_at),
        "decided_by": approval.decided_by,
        "why": secrets_hidden(approval.why),
    }


def of_approved(approved: "Approved") -> dict[str, Any]:
    return {**of_approval(approved.approval), "created": approved.created, "repeated": not approved.is_new}


def of_pending_approval(one: "PendingApproval", link: str | None = None) -> dict[str, Any]:
    """`link`: with which anyone can decide; only for callers that have asked for it."""
    generation = one.generation
    document = {**of_approval(one.approval), "key": generation.key, "prompt": secrets_hidden(generation.prompt)}
    return document if link is None else {**document, "link": link}
