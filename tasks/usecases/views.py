"""A generation as JSON: the same names in every command."""

from collections.abc import Sequence
from typing import Any

from tasks.cli.ui.output import links_hidden, secrets_hidden
from worker.generation import Asset, Generation, Transition, iso
from worker.ledger.queries import Story


def of_generation(generation: Generation) -> dict[str, Any]:
    return {
        "id": generation.id,
        "state": generation.state,
        "provider": generation.provider,
        "operation": generation.operation,
        "action": generation.action,
        "prompt": links_hidden(generation.prompt),
        "options": links_hidden(generation.options),
        "key": generation.key,
        "task_id": generation.task_id,
        "parent": generation.parent_id,
        "depth": generation.depth,
        "batch": generation.batch_id,
        "follow_up": generation.follow_up,
        "priority": generation.priority,
        "progress": generation.progress,
        "reason": secrets_hidden(generation.reason),
        "message": secrets_hidden(generation.message),
        "actions": generation.actions,
        "created_at": iso(generation.created_at),
        "updated_at": iso(generation.updated_at),
        "submitted_at": iso(generation.submitted_at),
        "finished_at": iso(generation.finished_at),
    }


def with_results(generation: Generation, assets: Sequence[Asset], history: Sequence[Transition]) -> dict[str, Any]:
    return {
        **of_generation(generation),
        "assets": [_asset(asset) for asset in assets],
        "transitions": [of_transition(move) for move in history],
    }


def of_story(story: Story) -> dict[str, Any]:
    return {
        **with_results(story.generation, story.assets, story.transitions),
        "children": story.children,
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
            {"at": iso(event.at), "type": event.type, "payload": secrets_hidden(event.payload)}
            for event in story.events
        ],
        "undelivered": [
            {
                "event": one.event_id,
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


def _asset(asset: Asset) -> dict[str, Any]:
    """Without its link: that is a secret while it lives and worthless afterwards."""
    return {
        "index": asset.index,
        "kind": asset.kind,
        "state": asset.state,
        "key": asset.key,
        "sha256": asset.sha256,
        "bytes": asset.bytes,
        "content_type": asset.content_type,
        "width": asset.width,
        "height": asset.height,
        "content": links_hidden(asset.content),
        "reason": asset.reason,
        "error": secrets_hidden(asset.error),
    }
