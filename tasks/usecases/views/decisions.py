"""A person's decisions as JSON: what was done, or why not."""

from typing import TYPE_CHECKING, Any

from worker.generation import iso
from worker.secrets import links_hidden, secrets_hidden

if TYPE_CHECKING:
    from tasks.usecases.accept import RefusedBytes
    from tasks.usecases.control import Decided, Resumed
    from tasks.usecases.dead_letters import Letter, Replayed
    from tasks.usecases.delete import Deleted, DeleteRequest
    from tasks.usecases.import_tasks import FoundTask
    from tasks.usecases.person import Person
    from tasks.usecases.resolve import Resolved


def of_decided(one: "Decided") -> dict[str, Any]:
    return {"id": one.generation_id, "state": one.state, "done": one.is_done, "message": one.message}


def of_resumed(provider: str, resumed: "Resumed") -> dict[str, Any]:
    return {
        "provider": provider,
        "resumed": bool(resumed.accounts),
        "accounts": list(resumed.accounts),
        "clock_was_ahead": [name for name, until in resumed.accounts.items() if until],
    }


def of_resolved(generation_id: str, resolved: "Resolved", by: "Person", task_id: str | None) -> dict[str, Any]:
    """Return a resolved generation."""
    facts = {"decision": resolved.decision, "by": by.name, "why": by.why, "task_id": task_id}
    return {"id": generation_id, **facts, "message": resolved.message}


def of_deleted(one: "Deleted", request: "DeleteRequest") -> dict[str, Any]:
    return {
        "id": one.generation_id,
        "done": not request.dry_run and one.obstacle is None,
        "objects": one.keys if request.with_objects else [],
        "message": one.obstacle or ("would be deleted" if request.dry_run else "deleted"),
    }


def of_refused(one: "RefusedBytes", *, is_done: bool) -> dict[str, Any]:
    """Return a refused file that is accepted, or would be."""
    return {
        "id": f"asset:{one.generation_id}/{one.index}",
        "done": is_done,
        "bytes": one.bytes,
        "sha256": one.sha256,
        "content_type": one.content_type,
        "declared_type": one.declared_type,
        "object_key": one.object_key,
        "look": one.link,
        "refused": secrets_hidden(one.refused),
        "trouble": one.trouble,
        "message": "will be archived unchanged" if is_done else "would be archived unchanged",
    }


def of_none_refused(asked: str) -> dict[str, Any]:
    """Return a requested generation or asset that has no refused files."""
    message = "no refused files are kept for it; `darkroom show` lists what it has"
    return {"id": asked, "done": False, "message": message}


def of_letter(letter: "Letter") -> dict[str, Any]:
    facts = {"id": letter.id, "kind": letter.kind, "at": iso(letter.at), **letter.facts}
    return {**facts, "error": secrets_hidden(letter.error)}


def of_replayed(one: "Replayed") -> dict[str, Any]:
    return {"id": one.letter_id, "done": one.is_done, "message": one.message}


def of_dismissed(letter_id: str, by: "Person") -> dict[str, Any]:
    return {"id": letter_id, "done": True, "by": by.name, "why": by.why, "message": "dismissed"}


def of_found_task(one: "FoundTask") -> dict[str, Any]:
    facts = {"operation": one.operation, "prompt": links_hidden(one.prompt), "created_at": iso(one.created_at)}
    facts |= {"generation": one.generation_id, "imported": one.is_taken}
    return {"task_id": one.task_id, **facts, "message": one.message}
