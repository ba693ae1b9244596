"""Follow-ups: created from an archived parent in the transaction that marks the parent as followed up."""

from collections.abc import Sequence

from sqlalchemy import select, text, update

from worker.generation import Generation
from worker.ledger.changes import Changes
from worker.ledger.creation import NewGeneration, insert_generations
from worker.ledger.database import Database
from worker.ledger.rows import to_generation
from worker.ledger.tables import FOLLOW_UP_DUE, generations


class Following:
    def __init__(self, database: Database) -> None:
        self._database = database

    def due(self, limit: int) -> list[Generation]:
        """Archived generations whose follow-ups were not created yet."""
        query = select(generations).where(text(FOLLOW_UP_DUE)).order_by(generations.c.batch_id).limit(limit)
        with self._database.read() as connection:
            return [to_generation(row) for row in connection.execute(query)]

    def create(self, parent: Generation, children: Sequence[NewGeneration], refused: Sequence[str]) -> int:
        """Create them and mark the parent; 0 when somebody else has done it. `refused`: why others are missing."""
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            marked = connection.execute(
                update(generations)
                .where(generations.c.id == parent.id, generations.c.followed_up_at.is_(None))
                .values(followed_up_at=now)
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
