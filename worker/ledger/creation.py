"""Writing generations down before anything is sent."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, select

from worker.errors import RequestInvalid
from worker.generation import Generation, GenerationRequest, State
from worker.ledger.changes import Changes, new_id
from worker.ledger.database import Database
from worker.ledger.flows import Flow, line_up
from worker.ledger.rows import to_generation
from worker.ledger.statements import IDS, insert_ignoring, select_in
from worker.ledger.tables import ANY_ACCOUNT, batches, generations
from worker.ledger.types import storable
from worker.prices import tier_of

_g = generations.c
_KNOWN = select(_g.dedupe, _g.id).where(_g.dedupe.in_(IDS))
_PARENTS = select(_g.id, _g.provider, _g.account, _g.turn).where(_g.id.in_(IDS))
_THESE = select(generations).where(_g.id.in_(IDS))
_NOTHING_YET: Mapping[str, None] = dict.fromkeys(_g.keys())


@dataclass(frozen=True, slots=True)
class NewGeneration:
    """`dedupe` makes a repeated creation harmless; `key` is the caller's own name for it."""

    provider: str
    request: GenerationRequest
    key: str | None = None
    dedupe: str | None = None
    priority: int = 0
    follow_up: tuple[str, ...] = ()
    parent_id: str | None = None
    depth: int = 0
    batch_id: str | None = None


class Creation:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, wanted: Sequence[NewGeneration], batch: str | None = None) -> list[Generation]:
        """Write all of them down, or none; those whose `dedupe` is known come back as they are.

        `batch` names a new batch for those that are not. Raises RequestInvalid when a key stands for another request
        already, and CommitUnknown: where each has a `dedupe`, repeating it then does no harm.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            batch_id = None
            if batch is not None:
                batch_id = new_id("batch", now)
                connection.execute(batches.insert().values(id=batch_id, name=batch, created_at=now))
            made = insert_generations(connection, changes, wanted, batch_id)
            if batch_id is not None and all(one.batch_id != batch_id for one in made):
                # All are known, which only the insert itself can tell: it waits for others who write the same keys.
                connection.execute(batches.delete().where(batches.c.id == batch_id))
            changes.flush()
        return made


def _compare(new: NewGeneration, known: Generation) -> None:
    request = new.request
    action = request.action and storable(request.action)
    asked = (new.provider, request.operation, action, storable(request.prompt), _as_stored(request.options))
    if asked != (known.provider, known.operation, known.action, known.prompt, known.options):
        raise RequestInvalid(
            f"the key {new.key or new.dedupe!r} already belongs to {known.id}, which asks for something else; use "
            "another key"
        )


def _as_stored(options: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(options))


def insert_generations(
    connection: Connection, changes: Changes, wanted: Sequence[NewGeneration], batch_id: str | None
) -> list[Generation]:
    """Insert those that are new; all of them, in the order of `wanted`. Raises RequestInvalid as `create` does."""
    if not wanted:
        return []
    parents = _parents(connection, wanted)
    new_ids = [new_id("gen", changes.at) for _ in wanted]
    rows = []
    for position, (generation_id, new) in enumerate(zip(new_ids, wanted, strict=True), start=1):
        parent = parents.get(new.parent_id)
        row = _row(generation_id, new, changes.at, new.batch_id or batch_id)
        # What follows goes before what its parent was ahead of; single ones go in the order in which they came.
        row["turn"] = position if batch_id else parent.turn if parent is not None and new.batch_id else 0
        # What names a task of its parent is only understood by the account that has this task.
        binding = parent if new.request.parent and parent and parent.provider == new.provider else None
        row["pinned"] = (binding and binding.account) or ANY_ACCOUNT
        rows.append(row)
    # In order of key, so that two who write the same keys never wait for each other in a circle.
    in_order = sorted(rows, key=lambda row: row["dedupe"] or "")
    connection.execute(insert_ignoring(connection, generations), in_order)
    owners = _owners(connection, rows)
    # After the insert, which waits for whoever changes one that has such a key: they, too, line up what they hold last.
    new_rows = [row for row in rows if owners.get(row["dedupe"], row["id"]) == row["id"]]
    line_up(connection, {Flow(it["provider"], it["priority"], it["batch_id"] or "", it["pinned"]) for it in new_rows})
    made: dict[str, Generation] = {}
    known = _others(connection, set(owners.values()) - set(new_ids))
    for row, new in zip(rows, wanted, strict=True):
        owner = owners.get(row["dedupe"], row["id"])
        if owner == row["id"]:
            changes.record(owner, row["batch_id"], None, State.QUEUED, "created")
            # Not read back: that would take as long as writing it.
            made[owner] = to_generation(SimpleNamespace(**{**_NOTHING_YET, **row}))
        else:
            # Its key was there before, in this list or from somebody who came first by a moment.
            made[row["id"]] = known.get(owner) or made[owner]
            _compare(new, made[row["id"]])
    return list(made.values())


def _owners(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    names = [row["dedupe"] for row in rows if row["dedupe"]]
    return {row.dedupe: row.id for row in select_in(connection, _KNOWN, names)}


def _others(connection: Connection, ids: Collection[str]) -> dict[str, Generation]:
    return {row.id: to_generation(row) for row in select_in(connection, _THESE, list(ids))}


def _parents(connection: Connection, wanted: Sequence[NewGeneration]) -> Mapping[str | None, Any]:
    ids = sorted({new.parent_id for new in wanted if new.parent_id})
    return {row.id: row for row in select_in(connection, _PARENTS, ids)}


def _row(generation_id: str, new: NewGeneration, now: datetime, batch_id: str | None) -> dict[str, Any]:
    tier = tier_of(new.request)
    return {
        "id": generation_id,
        "batch_id": batch_id,
        "parent_id": new.parent_id,
        "depth": new.depth,
        "provider": new.provider,
        "operation": new.request.operation,
        "action": new.request.action,
        "prompt": storable(new.request.prompt),
        "options": dict(new.request.options),
        "speed": tier.speed,
        "version": tier.version,
        "follow_up": list(new.follow_up),
        "priority": new.priority,
        "key": new.key,
        "dedupe": new.dedupe and storable(new.dedupe),
        "state": State.QUEUED,
        "tries": 0,
        "actions": [],
        "parent_handle": dict(new.request.parent),
        "handle": {},
        "followed_up_at": None if new.follow_up else now,
        "created_at": now,
        "updated_at": now,
    }
