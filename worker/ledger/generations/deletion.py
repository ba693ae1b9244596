"""Deletes generations that a client withdraws; only their existence, cost and hashes remain."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, text, update

from worker.generation import LIVE_ATTEMPTS, OPEN, Asset, AssetState, State, Verdict
from worker.ledger.asking import withdraw
from worker.ledger.assets import ASSETS
from worker.ledger.changes import Changes, Person, lock_known
from worker.ledger.database import Part
from worker.ledger.outcome import VERDICTS
from worker.ledger.rows import ASSET, AssetRow, Id, to_asset
from worker.ledger.schema import (
    STORED,
    CleanText,
    assets,
    attempts,
    callbacks,
    events,
    generations,
    labels,
    marks,
)
from worker.ledger.statements import IDS, NOW, Query, columns_of

_g, _t, _c, _a, _e = generations.c, attempts.c, callbacks.c, assets.c, events.c


class _State(NamedTuple):
    id: str
    state: str


class _Sent(NamedTuple):
    generation_id: str
    state: str
    poll_at: datetime | None


_STATES = Query(_State, select(_g.id, _g.state).where(_g.id.in_(IDS)))
_SENT = Query(_Sent, select(*columns_of(attempts, _Sent)).where(_t.generation_id.in_(IDS)))
_ATTEMPTS = Query(Id, select(_t.id).where(_t.generation_id.in_(IDS)))
_CHILDREN = Query(Id, select(_g.id).where(_g.parent_id.in_(IDS), _g.state != State.DELETED).order_by(_g.id))
_LEFT = Query(
    AssetRow,
    select(*ASSET).where(_a.generation_id.in_(IDS), _a.object_key.is_not(None)).order_by(_a.generation_id, _a.index),
)
_SHARED = select(_a.id).where(
    text(STORED), _a.sha256 == bindparam("sha256"), _a.object_key == bindparam("object_key", type_=CleanText())
)

_FORGET_ASSETS = (
    ASSETS.update_to(AssetState.DELETED)
    .where(_a.generation_id.in_(IDS))
    .values(
        url="",
        **dict.fromkeys(
            (
                "content",
                "reason",
                "error",
                "lease",
                "not_before",
                "refused_bytes",
                "refused_why",
                "accepted_by",
                "remark",
                # Not the thumbnail's state, which says whether its object may exist.
                *("thumbnail_lease", "thumbnail_at", "colour", "dhash"),
            )
        ),
    )
)
_FORGET_ATTEMPTS = update(attempts).where(_t.generation_id.in_(IDS)).values(error=None, candidates=None)
_FORGET_CALLBACKS = (
    update(callbacks)
    .where(_c.attempt_id.in_(IDS))
    .values(body=b"", headers={}, remote_address=None, error=None, not_before=None)
)
_DISMISS_CALLBACKS = (
    VERDICTS.update_to(Verdict.DISMISSED)
    .where(_c.attempt_id.in_(IDS))
    .values(applied_at=func.coalesce(_c.applied_at, NOW))
)
_FORGET_EVENTS = update(events).where(_e.generation_id.in_(IDS)).values(payload={})
# Labels of what was sent are kept: it may have cost something, and billing needs to know for whom.
_FORGET_LABELS = delete(labels).where(
    labels.c.generation_id.in_(IDS), ~select(_t.id).where(_t.generation_id == labels.c.generation_id).exists()
)
_FORGET_MARKS = delete(marks).where(marks.c.generation_id.in_(IDS))
_FORGET = (_FORGET_ASSETS, _FORGET_ATTEMPTS, _FORGET_EVENTS, _FORGET_LABELS, _FORGET_MARKS)
_GONE = update(assets).where(_a.id.in_(IDS), _a.state == AssetState.DELETED).values(object_key=None)


class Deletion(Part):
    def obstacles_to_delete(self, generation_ids: Sequence[str]) -> dict[str, str]:
        """Return the generations that cannot be deleted now, with the remedy; `delete` does not change them."""
        with self._database.read() as connection:
            states = {row.id: State(row.state) for row in _STATES.each(connection, generation_ids)}
            return _obstacles(connection, states)

    def delete(self, generation_ids: Sequence[str], person: Person) -> dict[str, str]:
        """Delete generations; return those that cannot be deleted now, with the remedy.

        Deletes prompts, options, the user's columns, links, texts, callbacks and event payloads. Keeps the state and
        hash of each result, times, charges and history, and the labels of what was sent. Does not delete objects in the
        bucket: `objects_to_delete` lists them. Raises NotFound before any change.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            lock_known(changes, generation_ids)
            obstacles = _obstacles(connection, {one: changes.state(one) for one in generation_ids})
            because = f"deleted by {person.name}{f': {person.why}' if person.why else ''}"
            gone = [one for one in sorted(set(generation_ids) - obstacles.keys()) if _forget(changes, one, because)]
            if gone:
                for forget in _FORGET:
                    connection.execute(forget, {"ids": gone})
                own = [row.id for row in _ATTEMPTS.each(connection, gone)]
                connection.execute(_DISMISS_CALLBACKS, {"ids": own, "now": now})
                connection.execute(_FORGET_CALLBACKS, {"ids": own})
                withdraw(changes, gone, person.name)
            changes.flush()
        return obstacles

    def objects_to_delete(self, generation_ids: Sequence[str]) -> list[tuple[Asset, bool]]:
        """Return assets whose object may be in the bucket, and whether another generation needs it too."""
        with self._database.read() as connection:
            found = [to_asset(row) for row in _LEFT.each(connection, generation_ids)]
            return [(asset, _is_shared(connection, asset, generation_ids)) for asset in found]

    def record_objects_deleted(self, asset_ids: Sequence[int]) -> None:
        """Record that the objects of these deleted assets are gone from the bucket."""
        with self._database.write(under_way=True) as connection:
            connection.execute(_GONE, {"ids": list(asset_ids)})

    def children(self, generation_ids: Sequence[str]) -> list[str]:
        """Return the follow-ups of these generations that are neither deleted nor among them."""
        with self._database.read() as connection:
            rows = _CHILDREN.each(connection, generation_ids)
        return [row.id for row in rows if row.id not in set(generation_ids)]


def _forget(changes: Changes, generation_id: str, because: str) -> bool:
    """Delete a generation's own data; return False if it has already been deleted."""
    return changes.move(
        generation_id,
        State.DELETED,
        because,
        prompt="",
        options={},
        input=None,
        actions=[],
        handle={},
        parent_handle={},
        message=None,
        follow_up_error=None,
    )


def _obstacles(connection: Connection, states: Mapping[str, State]) -> dict[str, str]:
    # Whatever its state, the provider may still accept the generation, or may still report its outcome.
    sent = _SENT.each(connection, sorted(states))
    awaited = {row.generation_id for row in sent if row.state in LIVE_ATTEMPTS or row.poll_at is not None}
    found = {}
    for generation_id, state in states.items():
        if state is State.QUEUED:
            found[generation_id] = f"it is queued: cancel it first with `darkroom cancel {generation_id}`"
        elif state is State.UNCONFIRMED:
            found[generation_id] = "the provider may have accepted it: resolve it first with `darkroom resolve`"
        elif state in OPEN:
            found[generation_id] = f"it is {state}, under way: try again when it is done (`darkroom watch`)"
        elif generation_id in awaited and state is not State.DELETED:
            found[generation_id] = (
                "its provider may still deliver it, and Darkroom is asking for it: try again tomorrow"
            )
    return found


def _is_shared(connection: Connection, asset: Asset, generation_ids: Sequence[str]) -> bool:
    same = {"sha256": asset.sha256, "object_key": asset.object_key}
    others = select(_a.generation_id).where(_a.id.in_(_SHARED))
    return any(owner not in generation_ids for owner in connection.execute(others, same).scalars())
