"""The rows of new generations, and how they are inserted: each `dedupe` once."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from worker.errors import KeyTaken, RequestInvalid
from worker.generation import Generation, Operation, State
from worker.ledger.changes import Changes, new_id
from worker.ledger.events import write_addresses
from worker.ledger.flows import Flow, line_up
from worker.ledger.generations.new_generation import New, NewGeneration, NewRow
from worker.ledger.generations.recipes import write_recipes
from worker.ledger.generations.splits import begin_splits
from worker.ledger.generations.unfinished import BeingWritten
from worker.ledger.inputs import write_uses
from worker.ledger.labels import A_LABEL, labels_of, write_labels
from worker.ledger.rows import GENERATION, GenerationRow, to_generation
from worker.ledger.schema import ANY_ACCOUNT, batches, generations, storable
from worker.ledger.statements import IDS, Query, insert_rows
from worker.pricing import tier_of
from worker.recipes import After
from worker.secrets import SANDBOX_ACCOUNT
from worker.subscribers import NotifyAddress


class Owner(NamedTuple):
    """The generation that owns a `dedupe`."""

    dedupe: str
    id: str
    batch_id: str | None
    row_sha256: str | None
    unfinished_at: datetime | None


class _Parent(NamedTuple):
    id: str
    provider: str
    account: str | None
    turn: int
    pinned: str
    a_label: str | None


_g = generations.c
_KNOWN = Query(
    Owner,
    select(_g.dedupe, _g.id, _g.batch_id, _g.row_sha256, batches.c.unfinished_at)
    .outerjoin(batches, batches.c.id == _g.batch_id)
    .where(_g.dedupe.in_(IDS)),
)
_PARENTS = Query(_Parent, select(_g.id, _g.provider, _g.account, _g.turn, _g.pinned, A_LABEL).where(_g.id.in_(IDS)))
_THESE = Query(GenerationRow, select(*GENERATION).where(_g.id.in_(IDS)))


def _compare(new: NewGeneration, known: Generation) -> None:
    request = new.request
    action = request.action and storable(request.action)
    asked = (
        *(new.provider, request.operation, action, storable(request.prompt), _as_stored(request.options)),
        *(new.is_test, new.parent_id),
    )
    # A later change of provider makes no difference.
    provider = known.provider_changes[0].left if known.provider_changes else known.provider
    if asked != (provider, known.operation, known.action, known.prompt, known.options, known.is_test, known.parent_id):
        told = f"the key {new.key or new.dedupe!r} already belongs to {known.id}, a different request; use another key"
        raise KeyTaken(told, new.key)


def _as_stored(options: Mapping[str, object]) -> object:
    stored: object = json.loads(json.dumps(options))
    return stored


def insert_generations(
    connection: Connection,
    changes: Changes,
    wanted: Sequence[NewGeneration],
    batch_id: str | None,
    notify: NotifyAddress | None = None,
) -> tuple[list[Generation], frozenset[str]]:
    """Insert new ones; return all, in the order of `wanted`, and the ids of the new ones.

    `notify`: where the events of the batch go. Raises as `create` does.
    """
    if not wanted:
        return [], frozenset()
    parents = parents_of(connection, wanted)
    wanted = like_their_parents(connection, wanted, parents)
    rows = rows_of(wanted, parents, changes.at, batch_id)
    made = insert_bite(connection, changes, list(zip(rows, wanted, strict=True)), batch_id, notify)
    # After the insert, which waits for transactions that change a generation with such a key: they, too, line up last.
    new = [row for row in rows if made[row["dedupe"] or row["id"]].id == row["id"]]
    line_up(connection, {flow_of_new(row) for row in new})
    return [made[row["dedupe"] or row["id"]] for row in rows], frozenset(row["id"] for row in new)


def rows_of(
    wanted: Sequence[NewGeneration], parents: Mapping[str | None, _Parent], now: datetime, batch_id: str | None
) -> list[NewRow]:
    rows = []
    for position, new in enumerate(wanted, start=1):
        parent = parents.get(new.parent_id)
        # A follow-up goes before everything that its parent was ahead of; single generations go in order of arrival.
        turn = (new.row_number or position) if batch_id else parent.turn if parent is not None and new.batch_id else 0
        # A request that refers to a task of its parent can only be made by the account that has this task.
        binding = parent if new.request.parent and parent and parent.provider == new.provider else None
        pinned = SANDBOX_ACCOUNT if new.is_test else (binding and binding.account) or ANY_ACCOUNT
        rows.append(_row(new, now, new.batch_id or batch_id, turn=turn, pinned=pinned))
    return rows


def sorted_out(
    rows: Sequence[NewRow], wanted: Sequence[NewGeneration], known: Mapping[str, Generation]
) -> tuple[dict[str, Generation], list[New]]:
    """Return existing generations by key, and the new ones to write, in order of key, once each."""
    made = dict(known)
    first: dict[str, New] = {}
    for row, new in zip(rows, wanted, strict=True):
        key = row["dedupe"] or row["id"]
        if key in known:
            _compare(new, known[key])
        elif key in first:
            _compare(new, _as_created(first[key][0]))
        else:
            first[key] = (row, new)
    return made, sorted(first.values(), key=_by_key)


def insert_new(
    connection: Connection,
    changes: Changes,
    wanted: Sequence[New],
    batch_id: str | None,
    notify: NotifyAddress | None = None,
) -> dict[str, Owner]:
    """Insert new generations; return the owner of each key, or of each id without a key, whether new or not.

    Raises BeingWritten if an owner belongs to an unfinished batch of another submission.
    """
    write_recipes(changes, [new.recipe for _, new in wanted if new.recipe])
    # In order of key, so that two transactions that write the same keys never deadlock.
    insert_rows(connection, generations, [row for row, _ in sorted(wanted, key=_by_key)], ignoring=True)
    owners = _owners(connection, [row["dedupe"] for row, _ in wanted if row["dedupe"]])
    for owner in owners.values():
        if owner.unfinished_at is not None and owner.batch_id != batch_id:
            raise BeingWritten(str(owner.batch_id))
    created: list[New] = []
    for row, new in wanted:
        if row["dedupe"] is None:
            owners[row["id"]] = Owner("", row["id"], row["batch_id"], row["row_sha256"], None)
        elif owners[row["dedupe"]].id != row["id"]:
            continue
        changes.bind(row["id"], provider=row["provider"])
        cause = "created" if new.created_by is None else f"created by {new.created_by}"
        changes.record(row["id"], row["batch_id"], None, State.QUEUED, cause)
        created.append((row, new))
    begin_splits(changes, [row["id"] for row, new in created if new.request.operation is Operation.SPLIT])
    write_labels(connection, [(row["id"], new.labels) for row, new in created])
    write_uses(connection, [(row["id"], sha256) for row, new in created for sha256 in new.inputs])
    named = [(row["id"], new.notify) for row, new in created if new.notify]
    if created and batch_id is not None and notify is not None:
        named.append((batch_id, notify))
    # All at once, so that two transactions that name the same hosts never deadlock.
    write_addresses(connection, changes.at, named)
    return owners


def insert_bite(
    connection: Connection,
    changes: Changes,
    wanted: Sequence[New],
    batch_id: str | None,
    notify: NotifyAddress | None = None,
) -> dict[str, Generation]:
    """Insert new generations; return all by key, or by id if there is none.

    Raises as `insert_new` does, and RequestInvalid if a key belongs to a different request.
    """
    owners = insert_new(connection, changes, wanted, batch_id, notify)
    known = these(connection, {owner.id for owner in owners.values()} - {row["id"] for row, _ in wanted})
    made: dict[str, Generation] = {}
    for row, new in wanted:
        key = row["dedupe"] or row["id"]
        owner_id = owners[key].id
        if owner_id == row["id"]:
            # Not read back, which would take as long as the write.
            made[key] = _as_created(row)
        else:
            # The key existed before: earlier in this list, or from a submission that was slightly faster.
            made[key] = known.get(owner_id) or made[key]
            _compare(new, made[key])
    return made


def _by_key(new: New) -> str:
    return str(new[0]["dedupe"] or "")


def flow_of_new(row: NewRow) -> Flow:
    return Flow(row["provider"], row["priority"], row["batch_id"] or "", row["pinned"])


def _as_created(row: NewRow) -> Generation:
    return to_generation(GenerationRow._make(map(row.get, GenerationRow._fields)))


def whole(connection: Connection, wanted: Sequence[NewGeneration]) -> dict[str, Generation]:
    """Return existing generations by key, without unfinished batches."""
    owners = _owners(connection, [storable(new.dedupe) for new in wanted if new.dedupe])
    ids = {owner.id: key for key, owner in owners.items() if owner.unfinished_at is None}
    return {ids[generation_id]: one for generation_id, one in these(connection, ids).items()}


def _owners(connection: Connection, keys: Sequence[str]) -> dict[str, Owner]:
    return {row.dedupe: row for row in _KNOWN.each(connection, keys)}


def these(connection: Connection, ids: Collection[str]) -> dict[str, Generation]:
    return {row.id: to_generation(row) for row in _THESE.each(connection, list(ids))}


def parents_of(connection: Connection, wanted: Sequence[NewGeneration]) -> Mapping[str | None, _Parent]:
    ids = sorted({new.parent_id for new in wanted if new.parent_id})
    return {row.id: row for row in _PARENTS.each(connection, ids)}


def like_their_parents(
    connection: Connection, wanted: Sequence[NewGeneration], parents: Mapping[str | None, _Parent]
) -> Sequence[NewGeneration]:
    """Add the labels of parents, and mark children of tests as tests.

    Raises RequestInvalid for a test whose parent is not a test.
    """
    tests = {parent.id for parent in parents.values() if parent.pinned == SANDBOX_ACCOUNT}
    for new in wanted:
        if new.is_test and new.parent_id in parents and new.parent_id not in tests:
            raise RequestInvalid(f"{new.parent_id} is not a test: a test can only continue from another test")
    if tests:
        wanted = [replace(new, is_test=True) if new.parent_id in tests else new for new in wanted]
    ids = [parent.id for parent in parents.values() if parent.a_label is not None]
    theirs = labels_of(connection, ids) if ids else {}
    return [
        replace(new, labels={**theirs[new.parent_id], **new.labels}) if new.parent_id in theirs else new
        for new in wanted
    ]


def _row(new: NewGeneration, now: datetime, batch_id: str | None, *, turn: int, pinned: str) -> NewRow:
    tier = tier_of(new.request)
    moments = {step.after for step in new.recipe.after(new.step)} if new.recipe else ()
    return {
        "id": new_id("gen", now),
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
        "extras": tier.extras,
        "follow_up": list(new.follow_up),
        "priority": new.priority,
        "turn": turn,
        "pinned": pinned,
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
        "input": dict(new.input) or None,
        "row_number": new.row_number,
        "row_sha256": new.row_sha256,
        "row_version": None if new.row_number is None else new.row_version,
        "providers": list(new.providers) or None,
        "provider_changes": None,
        "recipe": None if new.recipe is None else new.recipe.sha256,
        "recipe_name": None if new.recipe is None else new.recipe.name,
        "step": new.step,
        "followed_failure_at": None if After.FAILED in moments else now,
        "followed_success_at": None if After.SUCCEEDED in moments else now,
        "followed_archive_at": None if After.ARCHIVED in moments else now,
    }
