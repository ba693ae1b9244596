"""A person's decisions: cancel, retry."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, select

from worker.errors import LedgerUnavailable
from worker.generation import AssetState, State
from worker.ledger.access import Once, claim, keep
from worker.ledger.assets import ASSETS, TRY_NOW
from worker.ledger.changes import Changes, lock_known, require_known
from worker.ledger.database import Part, in_bites, incomplete
from worker.ledger.generations.create import GENERATIONS
from worker.ledger.rows import Id
from worker.ledger.schema import assets, generations
from worker.ledger.statements import IDS, Query
from worker.ledger.submission import awaited, submit_again

_EXISTING = Query(Id, select(generations.c.id).where(generations.c.id.in_(IDS)))
_WAIT_AGAIN = (
    ASSETS.update_to(AssetState.WAITING)
    .where(assets.c.generation_id.in_(IDS))
    .values(not_before=None, tries=0, renewals=0, reason=None)
)


class Retried(NamedTuple):
    """A generation's state before and after. `is_replayed`: whether the same request was carried out before."""

    before: State
    after: State
    is_replayed: bool


class Control(Part):
    def cancel(self, generation_ids: Sequence[str]) -> dict[str, State]:
        """Cancel generations that have not been submitted yet; return each one's state.

        Raises NotFound before any change, and LedgerUnavailable, which states how many were done before it.
        """

        def cancel_queued(changes: Changes, ids: Sequence[str]) -> None:
            for one in ids:
                if changes.state(one) is State.QUEUED:
                    changes.move(one, State.CANCELLED, "cancelled by a person", reason="cancelled")

        return self._in_bites(generation_ids, cancel_queued)

    def awaited(self, generation_ids: Sequence[str]) -> dict[str, datetime]:
        """Return generations that timed out but may still be delivered, and when each is polled next."""
        with self._database.read() as connection:
            return awaited(connection, generation_ids)

    def retry(
        self, generation_ids: Sequence[str], *, may_pay_twice: bool = False, may_submit: bool = True
    ) -> dict[str, State]:
        """Retry failed generations, or fetch expired ones again; return each one's state.

        Assets that wait after a failed try are retried now. UNCONFIRMED generations may have been paid for: use
        `Unconfirmed.resolve`. So may those that the provider may still deliver (`awaited`); they are skipped unless
        `may_pay_twice` accepts that risk. Without `may_submit`, failed ones are left alone. Raises as `cancel` does.
        """
        return self._in_bites(generation_ids, partial(_start_again, may_pay_twice=may_pay_twice, may_submit=may_submit))

    def retry_once(self, generation_id: str, once: Once, *, may_pay_twice: bool = False) -> Retried:
        """Retry a generation as `retry` does, and keep the request's idempotency key in the same transaction.

        A request that changes nothing is not kept: it may be repeated. Raises NotFound, KeyReused and KeyInUse.
        """
        now = self._database.clock()
        try:
            with self._database.write() as connection:
                return _retried_once(connection, now, generation_id, once, may_pay_twice=may_pay_twice)
        except _LeftAlone as left:
            return Retried(left.state, left.state, is_replayed=False)

    def _in_bites(
        self, generation_ids: Sequence[str], decide: Callable[[Changes, Sequence[str]], None]
    ) -> dict[str, State]:
        """Work in short transactions: each generation is decided by itself, so nobody has to wait for all of them."""
        with self._database.read() as connection:
            require_known(generation_ids, {row.id for row in _EXISTING.each(connection, generation_ids)})
        after: dict[str, State] = {}
        for some, _ in in_bites(self._database, generation_ids):
            try:
                with self._database.write() as connection:
                    changes = Changes(connection, self._database.clock())
                    lock_known(changes, some)
                    decide(changes, some)
                    changes.flush()
            except LedgerUnavailable as error:
                raise incomplete(error, len(after), len(generation_ids)) from error
            after.update((generation_id, changes.state(generation_id)) for generation_id in some)
        return after


class _LeftAlone(Exception):
    """Raised to roll back a transaction that changes nothing."""

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.state = state


def _retried_once(
    connection: Connection, now: datetime, generation_id: str, once: Once, *, may_pay_twice: bool
) -> Retried:
    kept = claim(connection, once, now)
    changes = Changes(connection, now)
    lock_known(changes, [generation_id])
    before = changes.state(generation_id)
    if kept is not None:
        return Retried(before, before, is_replayed=True)
    _start_again(changes, [generation_id], may_pay_twice=may_pay_twice)
    after = changes.state(generation_id)
    if after is before and before is not State.SUCCEEDED:
        raise _LeftAlone(before)
    changes.flush()
    keep(connection, once, {GENERATIONS: [generation_id]})
    return Retried(before, after, is_replayed=False)


def _start_again(changes: Changes, ids: Sequence[str], *, may_pay_twice: bool, may_submit: bool = True) -> None:
    left = () if may_pay_twice else awaited(changes.connection, ids)
    failed = [one for one in ids if changes.state(one) is State.FAILED and one not in left]
    if may_submit:
        submit_again(changes, failed, "submitted again by a person")
    waiting = [one for one in ids if changes.state(one) is State.SUCCEEDED]
    changes.connection.execute(TRY_NOW, {"ids": waiting})
    _fetch_again(changes, [one for one in ids if changes.state(one) is State.EXPIRED])


def _fetch_again(changes: Changes, generation_ids: Sequence[str]) -> None:
    if generation_ids:
        changes.connection.execute(_WAIT_AGAIN, {"ids": generation_ids})
    for generation_id in generation_ids:
        changes.move(generation_id, State.SUCCEEDED, "fetched again by a person", reason=None, message=None)
