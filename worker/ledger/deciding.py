"""What a person decides: cancel, try again, go on after a pause."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, text, update

from worker.errors import NotFound
from worker.generation import State
from worker.ledger.accounts import CLOSED, FULL_RATE
from worker.ledger.changes import Changes
from worker.ledger.database import Database
from worker.ledger.pacing import is_slowed, put_right
from worker.ledger.pacing_tables import accounts
from worker.ledger.second_looks import awaited
from worker.ledger.statements import update_row
from worker.ledger.submissions import settle_attempt
from worker.ledger.tables import LIVE, assets, attempts


class Deciding:
    def __init__(self, database: Database) -> None:
        self._database = database

    def cancel(self, generation_ids: Sequence[str]) -> dict[str, State]:
        """Take back what was not submitted yet; the state of each afterwards. Raises NotFound and does nothing."""
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            lock_known(changes, generation_ids)
            for generation_id in generation_ids:
                if changes.state(generation_id) is State.QUEUED:
                    changes.move(generation_id, State.CANCELLED, "cancelled by a person", reason="cancelled")
            changes.flush()
        return {generation_id: changes.state(generation_id) for generation_id in generation_ids}

    def awaited(self, generation_ids: Sequence[str]) -> dict[str, datetime]:
        """Those that failed because the time was over and may still be delivered; when each is looked at next."""
        with self._database.read() as connection:
            return awaited(connection, generation_ids)

    def retry(self, generation_ids: Sequence[str], *, may_pay_twice: bool = False) -> dict[str, State]:
        """Try again what failed, or fetch again what expired; the state of each afterwards.

        What is UNCONFIRMED may have been paid for: `Unclears.resolve` is for that. So may be what its provider may
        still deliver (`awaited`): it is left unless that risk is taken.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            changes = Changes(connection, now)
            lock_known(changes, generation_ids)
            left = () if may_pay_twice else awaited(connection, generation_ids)
            for generation_id in generation_ids:
                state = changes.state(generation_id)
                if state is State.FAILED and generation_id not in left:
                    submit_again(changes, generation_id, "submitted again by a person")
                elif state is State.EXPIRED:
                    _fetch_again(changes, generation_id)
            changes.flush()
        return {generation_id: changes.state(generation_id) for generation_id in generation_ids}

    def resume(self, provider: str, account: str | None = None) -> dict[str, datetime | None]:
        """End pause, open breaker and shrunken rate of an account, or of all of the provider's; which had any.

        Also a bucket that a wrong clock has filled in the future; then until when it would have given nothing.
        """
        now = self._database.clock()
        with self._database.write() as connection:
            mine = select(accounts).where(accounts.c.provider == provider).order_by(accounts.c.account)
            if account is not None:
                mine = mine.where(accounts.c.account == account)
            resumed = {}
            for row in connection.execute(mine.with_for_update()).all():
                wrong = put_right(row, now)
                if wrong or is_slowed(row, now):
                    free = {**wrong, "paused_until": None, "pause_reason": None, **FULL_RATE, **CLOSED}
                    update_row(connection, accounts, {"provider": provider, "account": row.account}, **free)
                    resumed[row.account] = row.refilled_at if "refilled_at" in wrong else None
        return resumed


def lock_known(changes: Changes, generation_ids: Sequence[str]) -> None:
    known = changes.lock(generation_ids)
    unknown = [generation_id for generation_id in generation_ids if generation_id not in known]
    if unknown:
        raise NotFound(f"there is no generation {unknown[0]}; `darkroom list` shows those that exist")


def submit_again(changes: Changes, generation_id: str, cause: str) -> None:
    """The old attempt is given up for good: from now on the database allows a new one."""
    live = select(attempts.c.id).where(attempts.c.generation_id == generation_id, text(LIVE))
    for attempt_id in changes.connection.execute(live).scalars().all():
        # Its outcome is still asked for: it may have been paid for, and its picture may yet come.
        facts = {"settled_at": changes.at, "poll_at": changes.at, "polls": 0}
        settle_attempt(changes.connection, attempt_id, "abandoned", **facts)
    changes.move(
        generation_id,
        State.QUEUED,
        cause,
        dispatched_at=None,
        account=None,
        not_before=None,
        task_id=None,
        progress=None,
        finished_at=None,
        reason=None,
        message=None,
    )
    changes.reopen_batch_of(generation_id)


def _fetch_again(changes: Changes, generation_id: str) -> None:
    changes.connection.execute(
        update(assets)
        .where(assets.c.generation_id == generation_id, assets.c.state == "expired")
        .values(state="waiting", not_before=None, tries=0, renewals=0)
    )
    changes.move(generation_id, State.SUCCEEDED, "fetched again by a person", reason=None, message=None)
    changes.reopen_batch_of(generation_id)
