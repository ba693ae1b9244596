"""The verbs that create generations: a few in one transaction, a large batch in many."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from worker.errors import RequestInvalid
from worker.generation import Generation
from worker.ledger.access import Once, claim, keep
from worker.ledger.changes import Changes, new_id
from worker.ledger.database import Part, in_bites, takes_several
from worker.ledger.events import write_addresses
from worker.ledger.flows import line_up
from worker.ledger.generations.creation import (
    flow_of_new,
    insert_bite,
    insert_generations,
    like_their_parents,
    parents_of,
    rows_of,
    sorted_out,
    these,
    whole,
)
from worker.ledger.generations.new_generation import NewGeneration
from worker.ledger.generations.unfinished import (
    BatchGone,
    BeingWritten,
    batch_of,
    begin,
    digest_of,
    drop_if_empty,
    finish,
    go_on,
    remove,
    remove_some_abandoned,
    remove_stalled,
)
from worker.ledger.schema import batches
from worker.subscribers import NotifyAddress

#: how many times to try, if other submissions have completed or abandoned a batch that this one needs
_TRIES = 5
#: the name, in the result of a request with an idempotency key, of the ids that it created
GENERATIONS = "generations"

T = TypeVar("T")


class Created(NamedTuple):
    """`generations`: in the order of the request; `new`: the ids of those that it created.

    `is_replayed`: whether the same request was carried out before.
    """

    generations: Sequence[Generation]
    new: frozenset[str]
    is_replayed: bool


class Creation(Part):
    def create(
        self, wanted: Sequence[NewGeneration], batch: str | None = None, notify: NotifyAddress | None = None
    ) -> list[Generation]:
        """Create all of them, or none; generations with a known `dedupe` are returned unchanged.

        `batch` names a new batch for the new ones; its events go to `notify`. A large batch is written in many short
        transactions and becomes visible with the last one; without a new batch, there is one transaction. Raises
        RequestInvalid if a key already belongs to a different request, and CommitUnknown: if every generation has a
        `dedupe`, repeating the call is safe.
        """
        if batch is not None and takes_several(wanted):
            return self._past_others(lambda: self._create_in_bites(wanted, batch, notify))
        return list(self.create_once(wanted, batch, notify=notify).generations)

    def create_once(
        self,
        wanted: Sequence[NewGeneration],
        batch: str | None = None,
        once: Once | None = None,
        notify: NotifyAddress | None = None,
    ) -> Created:
        """Create as `create` does, but always in one transaction, which also keeps the request's idempotency key.

        Also raises KeyReused and KeyInUse.
        """
        return self._past_others(lambda: self._at_once(wanted, batch, once, notify))

    def remove_abandoned(self) -> None:
        """Remove leftovers of unfinished batches, a few rows per call."""
        remove_some_abandoned(self._database)

    def _past_others(self, write: Callable[[], T]) -> T:
        for left in reversed(range(_TRIES)):
            try:
                return write()
            except BatchGone:
                if not left:
                    raise
            except BeingWritten as error:
                if not remove_stalled(self._database, error.batch_id) or not left:
                    raise
        raise AssertionError

    def _at_once(
        self, wanted: Sequence[NewGeneration], batch: str | None, once: Once | None, notify: NotifyAddress | None
    ) -> Created:
        now = self._database.clock()
        with self._database.write() as connection:
            if once is not None and (kept := claim(connection, once, now)) is not None:
                known = these(connection, kept[GENERATIONS])
                return Created([known[one] for one in kept[GENERATIONS]], frozenset(), is_replayed=True)
            changes = Changes(connection, now)
            batch_id = None
            if batch is not None:
                batch_id = new_id("batch", now)
                connection.execute(batches.insert().values(id=batch_id, name=batch, created_at=now))
            made, new = insert_generations(connection, changes, wanted, batch_id, notify)
            if batch_id is not None:
                drop_if_empty(connection, batch_id)
            changes.flush()
            if once is not None:
                keep(connection, once, {GENERATIONS: [one.id for one in made]})
        return Created(made, new, is_replayed=False)

    def _create_in_bites(
        self, wanted: Sequence[NewGeneration], batch: str, notify: NotifyAddress | None
    ) -> list[Generation]:
        now = self._database.clock()
        request = digest_of(wanted)
        with self._database.read() as connection:
            begun = batch_of(connection, request)
            batch_id = begun or new_id("batch", now)
            parents = parents_of(connection, wanted)
            wanted = like_their_parents(connection, wanted, parents)
            known = whole(connection, wanted)
            rows = rows_of(wanted, parents, now, batch_id)
        made, left = sorted_out(rows, wanted, known)
        try:
            for bite, is_last in in_bites(self._database, left):
                with self._database.write() as connection:
                    changes = Changes(connection, now)
                    if begun is None:
                        begin(connection, batch_id, batch, request, now)
                    go_on(connection, batch_id, request, self._database.clock())
                    found = insert_bite(connection, changes, bite, batch_id)
                    if is_last:
                        line_up(connection, {flow_of_new(row) for row, _ in left})
                        is_there = finish(connection, batch_id, request, batch)
                        if is_there and notify is not None:
                            write_addresses(connection, now, [(batch_id, notify)])
                    changes.flush()
                begun = batch_id
                made.update(found)
        except RequestInvalid:
            remove(self._database, batch_id)
            raise
        if not left and begun:
            remove(self._database, begun)
        return [made[row["dedupe"] or row["id"]] for row in rows]
