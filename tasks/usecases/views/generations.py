"""Generations as JSON: the same names at every front door. `worker.archive` says how each field is read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tasks.usecases.views.approvals import of_approval
from worker.archive import SHOWN, of_asset
from worker.archive import of_generation as fields_of
from worker.failures import REMEDIES, category_of
from worker.generation import Asset, Generation, Lineage, Transition, iso
from worker.pricing import as_text
from worker.secrets import redact, secrets_hidden

if TYPE_CHECKING:
    from tasks.usecases.queries import Details, ListedGeneration, Story
    from tasks.usecases.snapshots import Seen
    from tasks.waiting import Wait

_GENERATION = (
    *("id", "state", "provider", "providers", "provider_changes", "operation", "action", "prompt", "options", "key"),
    *("task_id", "parent", "depth", "root_key", "batch", "batch_id", "follow_up", "recipe", "step", "priority", "test"),
    *("progress", "reason", "message", "actions", "created_at", "updated_at", "submitted_at", "finished_at"),
)
#: states of charges
_PAID = ("spent", "late")
_ASSET = (
    *("index", "kind", "state", "object_key", "sha256", "bytes", "content_type", "width", "height"),
    *("content", "reason", "error"),
)


def of_generation(generation: Generation, lineage: Lineage) -> dict[str, Any]:
    return fields_of(generation, lineage, _GENERATION, SHOWN)


def of_submitted(generation: Generation, lineage: Lineage, warnings: Sequence[str]) -> dict[str, Any]:
    return of_generation(generation, lineage) | {"warnings": warnings}


def of_move(generation: Generation, lineage: Lineage, move: Transition) -> dict[str, Any]:
    """Return a watched generation with its state change."""
    return {**of_generation(generation, lineage), **of_transition(move), "state": move.to_state}


def with_results(
    generation: Generation, lineage: Lineage, assets: Sequence[Asset], history: Sequence[Transition]
) -> dict[str, Any]:
    return {
        **of_generation(generation, lineage),
        "assets": [of_asset(asset, _ASSET) for asset in assets],
        "transitions": [of_transition(move) for move in history],
        "failure": of_failure(generation),
    }


def of_failure(generation: Generation) -> dict[str, Any] | None:
    """Return why nothing came of it, and the remedy."""
    category = category_of(generation.state, generation.reason, generation.message)
    return None if category is None else {"category": category, "remedy": REMEDIES[category]}


def of_listed(one: "ListedGeneration") -> dict[str, Any]:
    return {
        **with_results(one.generation, one.lineage, one.assets, one.transitions),
        "labels": one.labels,
        "waits_for": _of_wait(one.waits_for),
    }


def of_details(details: "Details") -> dict[str, Any]:
    more = {
        "asked_again_at": iso(details.asked_again_at),
        "waits_for": _of_wait(details.waits_for),
        "approvals": [of_approval(one) for one in details.approvals],
    }
    return {**of_story(details.story), **more}


def of_seen(one: "Seen") -> dict[str, Any]:
    """Return a generation as programs poll it."""
    seen = one.snapshot
    return {
        **with_results(seen.generation, seen.lineage, seen.assets, seen.transitions),
        "labels": seen.labels,
        "children": [{"id": child.id, "action": child.action, "state": child.state} for child in seen.children],
        "cost": as_text(seen.cost),
        "held": None if one.held is None else {"budget": one.held.budget, "until": iso(one.held.until)},
        "waits_for": _of_wait(one.waits_for),
    }


def of_story(story: "Story") -> dict[str, Any]:
    return {
        **with_results(story.generation, story.lineage, story.assets, story.transitions),
        "labels": story.labels,
        "children": [{"id": one.id, "action": one.action, "state": one.state} for one in story.children],
        "charges": [{"attempt": one.number, "amount": as_text(one.price), "state": one.state} for one in story.charges],
        "cost": as_text(sum(one.price for one in story.charges if one.state in _PAID)),
        "total_cost": as_text(story.spent_in_total),
        "attempts": [
            {
                "id": attempt.id,
                "account": attempt.account,
                "number": attempt.number,
                "state": attempt.state,
                "task_id": attempt.task_id,
                "error": secrets_hidden(attempt.error),
                "sent_at": iso(attempt.sent_at),
                "perhaps": attempt.candidates,
                "callbacks_refused": attempt.callbacks_refused,
            }
            for attempt in story.attempts
        ],
        "callbacks": [
            {
                "id": callback.id,
                "attempt": callback.attempt_id,
                "received_at": iso(callback.received_at),
                "verdict": callback.verdict,
                "error": secrets_hidden(callback.error),
                "bytes": callback.bytes,
            }
            for callback in story.callbacks
        ],
        "events": [
            {
                "id": event.public_id,
                "at": iso(event.at),
                "type": event.type,
                "payload": secrets_hidden(event.payload),
            }
            for event in story.events
        ],
        "undelivered": [
            {
                "event": one.event_id,
                "event_id": one.public_id,
                "type": one.type,
                "subscriber": one.subscriber,
                "state": one.state,
                "tries": one.tries,
                "error": secrets_hidden(one.error),
            }
            for one in story.undelivered
        ],
        "pruned_before": {kind: iso(at) for kind, at in story.pruned_before.items()},
    }


def of_transition(move: Transition) -> dict[str, Any]:
    return {
        "from": move.from_state,
        "to": move.to_state,
        "at": iso(move.at),
        "cause": secrets_hidden(move.cause),
    }


def _of_wait(wait: "Wait | None") -> dict[str, Any] | None:
    if wait is None:
        return None
    told = {"cause": wait.cause, "subject": wait.subject, "told": redact(wait.told), "remedy": wait.remedy}
    return {**told, "since": iso(wait.since), "until": iso(wait.until), "count": wait.count}
