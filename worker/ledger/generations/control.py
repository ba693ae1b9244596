"""Decisions of a person: cancel, retry."""

from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import select

from worker.errors import LedgerUnavailable
from worker.generation import AssetState, State
from worker.ledger.assets import ASSETS, TRY_NOW
from worker.ledger.changes import Changes, lock_known, require_known
from worker.ledger.database import Part, in_bites, incomplete
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


class Control(Part):
    def cancel(self, generation_ids: Sequence[str]) -> dict[str, State]:
        """Cancel generations that were not submitted yet; return each one's state.

        Raises NotFound before any change; LedgerUnavailable states how many were done before.
        """

        def cancel_queued(changes: Changes, ids: Sequence[str]) -> None:
            for one in ids:
                if changes.state(one) is State.QUEUED:
                    changes.move(one, State.CANCELLED, "cancelled by a person", reason="cancelled")

        return self._in_bites(generation_ids, cancel_queued)

    def awaited(self, generation_ids: Sequence[str]) -> dict[str, datetime]:
        """Return generations that failed with a time-out but may still be delivered, and when each is polled next."""
        with self._database.read() as connection:
            return awaited(connection, generation_ids)

    def retry(self, generation_ids: Sequence[str], *, may_pay_twice: bool = False) -> dict[str, State]:
        """Retry failed generations, or fetch expired ones again; return each one's state.

        Assets that wait after a failed try are retried now.
        UNCONFIRMED generations may have been paid for: use `Unconfirmed.resolve`. So may those that the provider may
        still deliver (`awaited`), which are skipped unless the caller takes that risk. Raises as `cancel` does.
        """

        def start_again(changes: Changes, ids: Sequence[str]) -> None:
            left = () if may_pay_twice else awaited(changes.connection, ids)
            failed = [one for one in ids if changes.state(one) is State.FAILED and one not in left]
            submit_again(changes, failed, "submitted again by a person")
            waiting = [one for one in ids if changes.state(one) is State.SUCCEEDED]
            changes.connection.execute(TRY_NOW, {"ids": waiting})
            _fetch_again(changes, [one for one in ids if changes.state(one) is State.EXPIRED])

        return self._in_bites(generation_ids, start_again)

    def _in_bites(
        self, generation_ids: Sequence[str], decide: Callable[[Changes, Sequence[str]], None]
    ) -> dict[str, State]:
        """Each generation is decided by itself, so nobody has to wait for all of them."""
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


def _fetch_again(changes: Changes, generation_ids: Sequence[str]) -> None:
    if generation_ids:
        changes.connection.execute(_WAIT_AGAIN, {"ids": generation_ids})
    for generation_id in generation_ids:
        changes.move(generation_id, State.SUCCEEDED, "fetched again by a person", reason=None, message=None)
        changes.reopen_batch_of(generation_id)
