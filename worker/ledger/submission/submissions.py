"""The only dangerous step: an attempt is written down before its POST, and its outcome after it."""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, text, update

from worker.errors import LedgerUnavailable, NotTaken, ProviderError, Rejected
from worker.generation import Accepted, AttemptState, Generation, State
from worker.ledger.changes import Changes
from worker.ledger.database import Database
from worker.ledger.dispatch import Answer, answer_of, backoff, note_answers
from worker.ledger.restore_guard import IS_OPEN
from worker.ledger.rows import to_generation
from worker.ledger.schema import DISPATCHED, SENDING, attempts, generations, storable
from worker.ledger.statements import IDS, LIMIT, NOW, select_in, update_row
from worker.ledger.submission.attempts import move_attempt, task_id_taken
from worker.ledger.submission.durations import Patience, kind_of, patience_with
from worker.ledger.submission.polling import Polling
from worker.ledger.submission.unconfirmed import Unconfirmed
from worker.ledger.submission.unsent import Unsent
from worker.secrets import DEFAULT_ACCOUNT

_g = generations.c
_DISPATCHED = (
    select(generations)
    .where(text(DISPATCHED), IS_OPEN)
    .order_by(_g.dispatched_at, _g.id)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    update(generations)
    .where(_g.id.in_(IDS), _g.state == State.QUEUED)
    .values(state=State.SUBMITTING, updated_at=NOW, tries=_g.tries + 1)
)
# What somebody else has locked is being settled.
_UNDER_WAY = select(attempts.c.id).where(attempts.c.id.in_(IDS), text(SENDING)).with_for_update(skip_locked=True)
_RENEW = update(attempts).where(attempts.c.id.in_(_UNDER_WAY)).values(lease_until=bindparam("until"))
_ATTEMPTS = (
    select(attempts, _g.operation, _g.speed)
    .join(generations, _g.id == attempts.c.generation_id)
    .where(attempts.c.id.in_(IDS))
)
_STATES = select(attempts.c.id, attempts.c.state).where(attempts.c.id.in_(IDS))
_THESE = select(_g.id).where(_g.id.in_(IDS))
# What is locked may belong to a claim whose COMMIT is still under way.
_FREE = _THESE.order_by(_g.id).with_for_update(skip_locked=True, key_share=True)
#: states of an attempt of which nobody knows yet how it ended
_UNSETTLED = frozenset({AttemptState.SENDING, AttemptState.UNCERTAIN, AttemptState.ABANDONED})
_NOT_SENT = NotTaken("it was not sent: its claim was given back", code="not_sent", retry_after=timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class Claim:
    """One generation that this worker, and nobody else, may now submit once."""

    attempt_id: str
    generation: Generation
    #: of its provider: the one that is asked
    account: str
    #: nothing may be sent any more from this time on
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Submitted:
    """How a submission ended that gave no outcome yet: accepted, or the error that says what is known."""

    attempt_id: str
    result: Accepted | ProviderError


class Submissions(Polling, Unconfirmed):
    """From the claim to the reply, and what is asked and decided where no reply tells it."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._unsent = Unsent()

    def claim(self, limit: int, lease: timedelta) -> list[Claim]:
        """Take dispatched generations; committed before anything is sent. `lease`: until its end they are ours.

        What raises may have been committed all the same: `requeue_unsent` puts it back.
        """
        self._settle_given_up()
        claims: list[Claim] = []
        try:
            self._claim(claims, limit, lease)
        except BaseException:
            self._unsent.give_up([claim.attempt_id for claim in claims])
            raise
        return claims

    def _claim(self, claims: list[Claim], limit: int, lease: timedelta) -> None:
        with self._database.write() as connection:
            # Not earlier: the lease begins when the wait for other writers is over.
            now = self._database.clock()
            rows = connection.execute(_DISPATCHED, {"limit": limit}).all()
            if not rows:
                return
            connection.execute(_CLAIM, {"ids": [row.id for row in rows], "now": now})
            claims += [_claim(row, now + lease) for row in rows]
            self._unsent.claim({claim.attempt_id: claim.generation.id for claim in claims})
            connection.execute(attempts.insert(), [_attempt(claim, now) for claim in claims])
            changes = Changes(connection, now)
            for claim in claims:
                generation = claim.generation
                changes.bind(
                    generation.id, provider=generation.provider, attempt=claim.attempt_id, account=claim.account
                )
                changes.record(
                    generation.id,
                    generation.batch_id,
                    State.QUEUED,
                    State.SUBMITTING,
                    f"attempt {generation.tries + 1}",
                )
            changes.flush()

    def begin(self, attempt_id: str) -> bool:
        """Whether its POST may go out now: True once, for what this process has claimed and not given back."""
        return self._unsent.begin(attempt_id)

    def requeue_unsent(self) -> None:
        """Queue again what this process has claimed and not begun to send; harmless when repeated.

        Raises LedgerUnavailable while one of them is locked: its claim may still be committed.
        """
        self._unsent.give_up()
        if not self._settle_not_sent():
            raise LedgerUnavailable("what was claimed and not sent is locked, perhaps by its own claim")

    def _settle_given_up(self) -> None:
        """Soon, while its lease lasts; but it holds up nothing else."""
        with suppress(LedgerUnavailable):
            self._settle_not_sent()

    def _settle_not_sent(self) -> bool:
        """Whether nothing is left of what was given up.

        Also of one whose lease has ended, as long as its attempt is the live one: nobody has decided about it then.
        """
        generation_of = self._unsent.given_up()
        if not generation_of:
            return True
        with self._database.write(under_way=True) as connection:
            ids = sorted(generation_of.values())
            free = {row.id for row in select_in(connection, _FREE, ids)}
            locked = {row.id for row in select_in(connection, _THESE, ids)} - free
            ended = [one for one, generation_id in generation_of.items() if generation_id not in locked]
            changes = Changes(connection, self._database.clock())
            changes.lock(free)
            for attempt in select_in(connection, _ATTEMPTS, ended):
                if attempt.state in _UNSETTLED:
                    changes.bind(attempt.generation_id, attempt=attempt.id, account=attempt.account)
                    settle = _reject if attempt.state == AttemptState.ABANDONED else _not_taken
                    settle(changes, attempt, _NOT_SENT)
            changes.flush()
        self._unsent.settled(ended)
        return len(ended) == len(generation_of)

    def renew(self, attempt_ids: Sequence[str], lease: timedelta) -> None:
        """Hold submissions that are still under way for another `lease`; of one that was given up nothing changes."""
        with self._database.write(under_way=True) as connection:
            connection.execute(_RENEW, {"ids": list(attempt_ids), "until": self._database.clock() + lease})
        self._settle_given_up()

    def record(self, results: Sequence[Submitted], poll_after: timedelta, *, callbacks: bool = True) -> None:
        """Write down how submissions ended; of one of which a callback has said more already, nothing is changed.

        `poll_after`: when a silent one is asked for first, until it is known how long such ones usually take;
        `callbacks`: whether they call back.
        """
        now = self._database.clock()
        with self._database.write(under_way=True) as connection:
            found = select_in(connection, _ATTEMPTS, [result.attempt_id for result in results])
            by_id = {row.id: row for row in found}
            changes = Changes(connection, now)
            changes.lock(row.generation_id for row in by_id.values())
            # Read again: the first look was before the lock.
            states = {row.id: row.state for row in select_in(connection, _STATES, list(by_id))}
            providers = [row.provider for row in by_id.values()]
            patience = patience_with(connection, providers, poll_after, callbacks=callbacks)
            unsettled = [result for result in results if states[result.attempt_id] in _UNSETTLED]
            for result in unsettled:
                attempt = by_id[result.attempt_id]
                changes.bind(attempt.generation_id, attempt=attempt.id, account=attempt.account)
                is_replaced = states[result.attempt_id] == AttemptState.ABANDONED
                settle = _settle_replaced if is_replaced else _settle
                settle(changes, attempt, result.result, patience)
            # A reply that its callback outran still shows that the provider answers.
            heard = [it for it in results if it in unsettled or isinstance(it.result, Accepted)]
            note_answers(changes, [(by_id[it.attempt_id], it.result) for it in heard])
            changes.flush()
        self._unsent.settled(by_id)
        self._settle_given_up()

    def mark_lost_unconfirmed(self) -> int:
        """Attempts whose worker died with the POST under way: nobody knows, so they become UNCONFIRMED."""
        now = self._database.clock()
        with self._database.write() as connection:
            overdue = connection.execute(
                select(attempts.c.id, attempts.c.generation_id)
                .where(text(SENDING), attempts.c.lease_until < now)
                .order_by(attempts.c.lease_until)
                .limit(500)
            ).all()
            changes = Changes(connection, now)
            changes.lock(row.generation_id for row in overdue)
            lost = "the worker that submitted it died"
            expired = 0
            for row in overdue:
                # Only if it is still under way: the first look was before the lock.
                if move_attempt(connection, row.id, AttemptState.UNCERTAIN, error=lost, poll_at=now):
                    expired += 1
                    changes.bind(row.generation_id, attempt=row.id)
                    changes.move(row.generation_id, State.UNCONFIRMED, lost, reason="worker_lost", message=lost)
            changes.flush()
        return expired


def _claim(row: Any, lease_until: datetime) -> Claim:
    return Claim(secrets.token_hex(16), to_generation(row), row.account or DEFAULT_ACCOUNT, lease_until)


def _attempt(claim: Claim, now: datetime) -> dict[str, Any]:
    return {
        "id": claim.attempt_id,
        "generation_id": claim.generation.id,
        "provider": claim.generation.provider,
        "account": claim.account,
        "number": claim.generation.tries + 1,
        "state": AttemptState.SENDING,
        "sent_at": now,
        "lease_until": claim.lease_until,
    }


def _settle(changes: Changes, attempt: Any, result: Accepted | ProviderError, patience: Patience) -> None:
    """The attempt is settled in any case; its generation moves unless an earlier attempt has brought it further."""
    match result:
        case Accepted(task_id):
            _accepted(changes, attempt, storable(task_id), changes.at + patience.first(kind_of(attempt)))
        case NotTaken():
            _not_taken(changes, attempt, result)
        case Rejected():
            if _reject(changes, attempt, result):
                changes.move(attempt.generation_id, State.FAILED, "rejected", reason=result.code, message=str(result))
        case ProviderError():
            _unconfirmed(changes, attempt, result.code, str(result))


def _accepted(changes: Changes, attempt: Any, task_id: str, poll_at: datetime) -> None:
    if task_id_taken(changes.connection, attempt, task_id):
        message = f"the provider answered with task_id {task_id}, which belongs to another attempt"
        _unconfirmed(changes, attempt, "task_id_taken", message)
        return
    # Where an earlier attempt succeeded meanwhile the generation stays as it is. Whether this one is paid for as well
    # shows its outcome.
    # It may have been looked for often and in vain; from here on it is asked for like any other.
    facts = {"task_id": task_id, "poll_at": poll_at, "polls": 0}
    if not move_attempt(changes.connection, attempt.id, AttemptState.ACCEPTED, **facts):
        return
    changes.move(
        attempt.generation_id,
        State.SUBMITTED,
        f"accepted as {task_id}",
        task_id=task_id,
        account=attempt.account,
        submitted_at=changes.at,
        reason=None,
        message=None,
    )


def _settle_replaced(changes: Changes, attempt: Any, result: Accepted | ProviderError, patience: Patience) -> None:
    """The late reply to an attempt that a person had submitted again: its generation does not follow it any more."""
    match result:
        case Accepted(task_id):
            task_id = storable(task_id)
            if not task_id_taken(changes.connection, attempt, task_id):
                poll_at = changes.at + patience.first(kind_of(attempt))
                # And whoever looks for it just now, in vain, does not make that the last question.
                mine = {"id": attempt.id, "state": AttemptState.ABANDONED}
                update_row(changes.connection, attempts, mine, task_id=task_id, poll_at=poll_at, polls=0)
        case NotTaken() | Rejected():
            _reject(changes, attempt, result)


def _reject(changes: Changes, attempt: Any, error: ProviderError) -> bool:
    facts = {"error": str(error), "settled_at": changes.at}
    return move_attempt(changes.connection, attempt.id, AttemptState.REJECTED, **facts)


def _not_taken(changes: Changes, attempt: Any, error: NotTaken) -> None:
    # Also when its lease ended meanwhile: its attempt is still live, so no person has decided, and there is nothing to
    # find out, because its own worker knows.
    if not _reject(changes, attempt, error):
        return
    # That stops the account, not the generation: another may take it, and this one goes on as soon as it may.
    is_paused = answer_of(error) in {Answer.BLOCKED, Answer.TOO_MANY}
    changes.move(
        attempt.generation_id,
        State.QUEUED,
        f"not taken: {error.code}",
        dispatched_at=None,
        account=None,
        not_before=None if is_paused else changes.at + (error.retry_after or backoff(attempt.number)),
        reason=error.code,
        message=str(error),
    )


def _unconfirmed(changes: Changes, attempt: Any, code: str, message: str) -> None:
    facts = {"error": message, "poll_at": changes.at + timedelta(seconds=5)}
    if not move_attempt(changes.connection, attempt.id, AttemptState.UNCERTAIN, **facts):
        # It is uncertain already, because its lease had ended; now it is known why.
        update_row(changes.connection, attempts, {"id": attempt.id, "state": AttemptState.UNCERTAIN}, **facts)
    changes.move(attempt.generation_id, State.UNCONFIRMED, f"unclear: {code}", reason=code, message=message)
