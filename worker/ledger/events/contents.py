"""Recorded events with facts about their generations and batches, in a few statements for any number of events."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from worker.generation import TEST_BATCH, AssetState, State
from worker.ledger.events.public_ids import public_id
from worker.ledger.labels import A_LABEL, labels_of
from worker.ledger.lineage import lineages_of
from worker.ledger.schema import assets, batches, events, generations
from worker.ledger.statements import IDS, Query
from worker.secrets import SANDBOX_ACCOUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedEvent:
    """`payload`: recorded with the event; `about`: current facts about its generation and batch."""

    event_id: int
    at: datetime
    type: str
    payload: Mapping[str, object]
    generation_id: str | None
    batch_id: str | None
    about: Mapping[str, object]

    @property
    def public_id(self) -> str:
        return public_id(self.event_id, self.at)


class _Content(NamedTuple):
    event_id: int
    at: datetime
    type: str
    payload: Mapping[str, object]
    generation_id: str | None
    state: str | None
    key: str | None
    provider: str | None
    operation: str | None
    action: str | None
    reason: str | None
    message: str | None
    parent: str | None
    a_label: str | None
    batch_id: str | None
    batch: str | None
    pinned: str | None


class _Stored(NamedTuple):
    generation_id: str
    #: its `index`, which is the name of a tuple method
    number: int
    kind: str
    object_key: str | None
    content_type: str | None
    bytes: int | None


_e, _g, _a = events.c, generations.c, assets.c
#: the batch of an event, or of its generation if the event names none
BATCH_ID = func.coalesce(_e.batch_id, _g.batch_id)
_FACTS = ("state", "key", "provider", "operation", "action", "reason", "message")
_CONTENTS = Query(
    _Content,
    select(_e.id.label("event_id"), _e.at, _e.type, _e.payload, _e.generation_id, *(_g[name] for name in _FACTS))
    .add_columns(
        _g.parent_id.label("parent"), A_LABEL, BATCH_ID.label("batch_id"), batches.c.name.label("batch"), _g.pinned
    )
    .select_from(events)
    .outerjoin(generations, _g.id == _e.generation_id)
    .outerjoin(batches, batches.c.id == BATCH_ID)
    .where(_e.id.in_(IDS)),
)
_STORED = Query(
    _Stored,
    select(_a.generation_id, _a.index.label("number"), _a.kind, _a.object_key, _a.content_type, _a.bytes)
    .where(_a.generation_id.in_(IDS), _a.state == AssetState.STORED)
    .order_by(_a.generation_id, _a.index),
)
_ABOUT = ("key", "provider", "operation", "action", "parent", "batch")
#: events that older versions recorded without the reason; their generation has it while it is in this state
_TELLS_REASON = {"generation.failed": State.FAILED, "generation.unconfirmed": State.UNCONFIRMED}


def contents(connection: Connection, event_ids: Sequence[int]) -> list[RecordedEvent]:
    """Return these events, in this order; unknown ids are left out."""
    rows = {row.event_id: row for row in _CONTENTS.each(connection, event_ids)}
    about = _about(connection, list(rows.values()))
    return [
        RecordedEvent(
            event_id=row.event_id,
            at=row.at,
            type=row.type,
            payload=row.payload,
            generation_id=row.generation_id,
            batch_id=row.batch_id,
            about=about[row.event_id],
        )
        for row in (rows[event_id] for event_id in event_ids if event_id in rows)
    ]


def _about(connection: Connection, rows: Sequence[_Content]) -> dict[int, Mapping[str, object]]:
    children = {row.generation_id for row in rows if row.parent is not None and row.generation_id}
    lineages = lineages_of(connection, sorted(children)) if children else {}
    labelled = {row.generation_id for row in rows if row.a_label is not None and row.generation_id}
    labels = labels_of(connection, sorted(labelled)) if labelled else {}
    archived = {row.generation_id for row in rows if row.type == "generation.archived" and row.generation_id}
    stored = _stored(connection, sorted(archived)) if archived else {}
    found: dict[int, Mapping[str, object]] = {}
    for row in rows:
        of = row.generation_id or ""
        facts: dict[str, object] = {name: getattr(row, name) for name in _ABOUT}
        facts["root_key"] = lineages[of].root_key if of in lineages else row.key
        facts["labels"] = labels.get(of)
        if row.pinned == SANDBOX_ACCOUNT or (row.batch or "").endswith(TEST_BATCH):
            facts["test"] = True
        if row.type == "generation.archived":
            facts["assets"] = stored.get(of)
        if _TELLS_REASON.get(row.type) == row.state:
            facts |= {"reason": row.reason, "message": row.message}
        found[row.event_id] = {name: value for name, value in facts.items() if value is not None}
    return found


def _stored(connection: Connection, generation_ids: Sequence[str]) -> dict[str, list[dict[str, object]]]:
    found: defaultdict[str, list[dict[str, object]]] = defaultdict(list)
    for row in _STORED.each(connection, generation_ids):
        facts: dict[str, object] = {"index": row.number, "kind": row.kind}
        optional = {"object_key": row.object_key, "content_type": row.content_type, "bytes": row.bytes}
        found[row.generation_id].append(facts | {name: one for name, one in optional.items() if one is not None})
    return found
