"""Events as JSON: the same document for subscribers, the API and the command line (`tasks.usecases.events.models`)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from worker.failures import REMEDIES, category_of
from worker.generation import State
from worker.secrets import secrets_hidden

if TYPE_CHECKING:
    from tasks.usecases.events.forward import Answer
    from tasks.usecases.events.place import EventPlace
    from worker.ledger.events import RecordedEvent, Resent

#: events whose reason has a category and a remedy
_ENDS: Mapping[str, State] = {
    "generation.failed": State.FAILED,
    "generation.unconfirmed": State.UNCONFIRMED,
    "generation.expired": State.EXPIRED,
    "asset.expired": State.EXPIRED,
}
_WITH_AMOUNTS = ("budget.exceeded", "budget.late_charge")


def of_event(event: "RecordedEvent", place: "EventPlace") -> dict[str, Any]:
    """Return the event: `id`, `type`, `timestamp` (when it happened) and `data`; no field is null.

    Secrets are hidden, except the link with which anyone can decide an approval.
    """
    ids = {"generation_id": event.generation_id, "batch_id": event.batch_id}
    data: dict[str, Any] = {**ids, **event.about, **event.payload}
    if event.type == "batch.completed":
        data |= _of_completed(event, data, place)
    if "object_key" in data or "assets" in data or "manifest" in data:
        data["bucket"] = place.bucket
    if event.type in _WITH_AMOUNTS:
        data["currency"] = place.currency
    if event.type in _ENDS and data.get("reason"):
        said = data.get("error") if event.type == "asset.expired" else data.get("message")
        if (category := category_of(_ENDS[event.type], data["reason"], said)) is not None:
            data["failure"] = {"category": category, "remedy": REMEDIES[category]}
    shown = secrets_hidden(_without_null(data))
    if event.type == "generation.needs_approval" and "approval" in data and place.approval_link is not None:
        # Created whenever it is shown, because it is a secret and never stored.
        shown["link"] = place.approval_link(data["approval"])
    return {
        "id": event.public_id,
        "type": event.type,
        "timestamp": event.at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "data": shown,
    }


def of_answer(to: str, event_id: str, answer: "Answer") -> dict[str, Any]:
    """Return the outcome of sending an event to `to`."""
    return {"id": event_id, "to": to, "status": answer.status, "error": secrets_hidden(answer.error)}


def of_resent(subscriber: str, resent: "Resent") -> dict[str, Any]:
    return {"subscriber": subscriber, "resent": resent.resent, "waiting": resent.waiting}


def _of_completed(event: "RecordedEvent", data: Mapping[str, Any], place: "EventPlace") -> dict[str, Any]:
    found: dict[str, Any] = {}
    if event.batch_id is not None and "batch" in data:
        found["manifest"] = place.keys.manifest(event.batch_id, data["batch"])
    if data.get("cost"):
        found["cost"] = _without_null({**data["cost"], "currency": place.currency})
    return found


def _without_null(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in facts.items() if value is not None}
