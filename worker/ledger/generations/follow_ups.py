"""Follow-ups: created from an archived parent in the transaction that marks the parent as followed up."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select, text, update

from worker.generation import Generation
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.generations.creation import insert_generations
from worker.ledger.generations.new_generation import NewGeneration
from worker.ledger.rows import GENERATION, GenerationRow, to_generation
from worker.ledger.schema import FOLLOW_UP_DUE, FOLLOW_UP_REFUSED, generations
from worker.ledger.statements import LIMIT, NOW, Query, columns_of

#: after so many tries a parent whose follow-ups cannot be created is set aside for a person
MAX_TRIES = 5
_FIRST_WAIT = timedelta(seconds=10)
#: between two tries
LONGEST_WAIT = _FIRST_WAIT * 2 ** (MAX_TRIES - 1)


class _Refused(NamedTuple):
    id: str
    follow_up: Sequence[str]
    follow_up_error: str
    followed_up_at: datetime


_g = generations.c
DUE = select(*GENERATION).where(
    text(FOLLOW_UP_DUE), _g.follow_up_not_before.is_(None) | (_g.follow_up_not_before <= NOW)
)
_NEXT = Query(GenerationRow, DUE.order_by(_g.batch_id).limit(LIMIT))
_REFUSED = Query(
    _Refused,
    select(*columns_of(generations, _Refused)).where(text(FOLLOW_UP_REFUSED)).order_by(_g.id.desc()).limit(LIMIT),
)


@dataclass(frozen=True, slots=True)
class RefusedFollowUp:
    """Follow-ups of an archived generation that could not be created in any try."""

    generation_id: str
    follow_up: tuple[str, ...]
    error: str
    at: datetime


class FollowUps(Part):
    def due_follow_ups(self, limit: int) -> list[Generation]:
        """Return archived generations without their follow-ups."""
        with self._database.read() as connection:
            rows = _NEXT.all(connection, limit=limit, now=self._database.clock())
        return [to_generation(row) for row in rows]

    def create_follow_ups(self, parent: Generation, children: Sequence[NewGeneration], refused: Sequence[str]) -> int:
        """Create them and mark the parent; 0 if another worker has done it. `refused`: why others are missing."""
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            marked = connection.execute(
                update(generations)
                .where(_g.id == parent.id, _g.followed_up_at.is_(None))
                .values(followed_up_at=now, follow_up_error=None)
            )
            if marked.rowcount != 1:
                return 0
            if children:
                insert_generations(connection, changes, children, None)
            for reason in refused:
                changes.event("follow_up.refused", generation_id=parent.id, batch_id=parent.batch_id, reason=reason)
            changes.look_at_batch(parent.batch_id)
            changes.flush()
        return len(children)

    def record_follow_up_failure(self, parent: Generation, error: str) -> bool:
        """Record why they could not be created; True after the last try, which makes them a dead letter."""
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            mine = update(generations).where(_g.id == parent.id, text(FOLLOW_UP_DUE))
            tried = mine.values(follow_up_tries=_g.follow_up_tries + 1, follow_up_error=error)
            tries = connection.execute(tried.returning(_g.follow_up_tries)).scalar()
            if tries is None:
                return False
            if tries < MAX_TRIES:
                connection.execute(mine.values(follow_up_not_before=now + _FIRST_WAIT * 2**tries))
                return False
            connection.execute(mine.values(followed_up_at=now))
            changes.event("follow_up.refused", generation_id=parent.id, batch_id=parent.batch_id, reason=error)
            changes.look_at_batch(parent.batch_id)
            changes.flush()
        return True

    def refused_follow_ups(self, limit: int) -> list[RefusedFollowUp]:
        """Return the dead ones, newest first."""
        with self._database.read() as connection:
            rows = _REFUSED.all(connection, limit=limit)
        return [RefusedFollowUp(row.id, tuple(row.follow_up), row.follow_up_error, row.followed_up_at) for row in rows]

    def retry_follow_ups(self, generation_id: str) -> bool:
        """Retry their creation, from the first try; False if they are not dead."""
        fresh = {"follow_up_tries": 0, "follow_up_error": None, "follow_up_not_before": None}
        with self._database.write() as connection:
            changes = Changes(connection, self._database.clock())
            changes.lock([generation_id])
            mine = update(generations).where(_g.id == generation_id, text(FOLLOW_UP_REFUSED))
            if connection.execute(mine.values(followed_up_at=None, **fresh)).rowcount != 1:
                return False
            changes.reopen_batch_of(generation_id)
            changes.flush()
        return True
