"""The only dangerous step: an attempt is recorded before its POST, and its outcome after it."""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, text, update

from worker.errors import LedgerUnavailable, NotTaken, ProviderError, Rejected
from worker.generation import Accepted, AttemptState, Generation, State
from worker.ledger.changes import Changes
from worker.ledger.database import Database
from worker.ledger.dispatch import Answer, answer_of, backoff, note_answers
from worker.ledger.restore_guard import IS_OPEN
from worker.ledger.rows import GENERATION, GenerationRow, Id, to_generation
from worker.ledger.schema import DISPATCHED, SENDING, Tally, attempts, generations, storable
from worker.ledger.statements import IDS, LIMIT, NOW, Query, Values, insert_rows, together
from worker.ledger.submission.attempts import Attempt, Attempts
from worker.ledger.submission.durations import Patience, kind_of_attempt, patience_with
from worker.ledger.submission.polling import Polling
from worker.ledger.submission.unconfirmed import Unconfirmed
from worker.ledger.submission.unsent import Unsent
from worker.ledger.tallies import TallyKey, tally
from worker.secrets import DEFAULT_ACCOUNT, SANDBOX_ACCOUNT

_g = generations.c
_DISPATCHED = Query(
    GenerationRow,
    select(*GENERATION)
    .where(text(DISPATCHED), IS_OPEN)
    .order_by(_g.dispatched_at, _g.id)
    .limit(LIMIT)
    .with_for_update(skip_locked=True),
)
_CLAIM = (
    update(generations)
    .where(_g.id.in_(IDS), _g.state == State.QUEUED)
    .values(state=State.SUBMITTING, updated_at=NOW, tries=_g.tries + 1)
)
# Locked attempts are being settled.
_UNDER_WAY = select(attempts.c.id).where(attempts.c.id.in_(IDS), text(SENDING)).with_for_update(skip_locked=True)
_RENEW = update(attempts).where(attempts.c.id.in_(_UNDER_WAY)).values(lease_until=bindparam("until"))
_OF_THESE = select(_g.id).where(_g.id.in_(IDS))
_THESE = Query(Id, _OF_THESE)
# A locked generation may belong to a claim whose COMMIT is still in progress.
_FREE = Query(Id, _OF_THESE.order_by(_g.id).with_for_update(skip_locked=True, key_share=True))
#: states of an attempt whose outcome is not known yet
_UNSETTLED = frozenset({AttemptState.SENDING, AttemptState.UNCERTAIN, AttemptState.ABANDONED})
_NOT_SENT = NotTaken("it was not sent: its claim was given back", code="not_sent", retry_after=timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class Claim:
    """One generation that this worker, and nobody else, may now submit once."""

    attempt_id: str
    generation: Generation
    #: the provider's account that it is submitted to
    account: str
    #: nothing may be sent after this time
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Submitted:
    """How a submission ended, without an outcome yet: accepted, or the error that says what is known."""

    attempt_id: str
    result: Accepted | ProviderError


class Submissions(Polling, Unconfirmed):
    """Submissions from claim to reply, and polls and decisions where the reply leaves the outcome open."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._unsent = Unsent()

    def claim(self, limit: int, lease: timedelta) -> list[Claim]:
        """Claim dispatched generations, committed before anything is sent. `lease`: how long they are ours.

        If this raises, the claims may have been committed all the same: `requeue_unsent` returns them to the queue.
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
            # Not earlier: the lease begins once the wait for other writers is over.
            now = self._database.clock()
            rows = _DISPATCHED.all(connection, limit=limit)
            if not rows:
                return
            connection.execute(_CLAIM, {"ids": [row.id for row in rows], "now": now})
            claims += [_claim(row, now + lease) for row in rows]
            self._unsent.claim({claim.attempt_id: claim.generation.id for claim in claims})
            insert_rows(connection, attempts, [_attempt(claim, now) for claim in claims])
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
        """Whether its POST may be sent now: True once, if this process has claimed and not abandoned it."""
        return self._unsent.begin(attempt_id)

    def requeue_unsent(self) -> None:
        """Requeue generations that this process has claimed and not started to send; harmless if repeated.

        Raises LedgerUnavailable while one of them is locked: its claim may still be committed.
        """
        self._unsent.give_up()
        if not self._settle_not_sent():
            raise LedgerUnavailable("what was claimed and not sent is locked, perhaps by its own claim")

    def _settle_given_up(self) -> None:
        """Settle abandoned claims early, while their leases last; a failure holds up nothing else."""
        with suppress(LedgerUnavailable):
            self._settle_not_sent()

    def _settle_not_sent(self) -> bool:
        """Settle abandoned claims; return whether none are left.

        Includes claims whose lease has ended while their attempt is the live one: nobody has decided about it yet.
        """
        generation_of = self._unsent.given_up()
        if not generation_of:
            return True
        with self._database.write(under_way=True) as connection:
            ids = sorted(generation_of.values())
            free = {row.id for row in _FREE.each(connection, ids)}
            locked = {row.id for row in _THESE.each(connection, ids)} - free
            ended = [one for one, generation_id in generation_of.items() if generation_id not in locked]
            changes = Changes(connection, self._database.clock())
            changes.lock(free)
            tries = Attempts(changes, ended)
            for attempt in tries:
                if attempt.state in _UNSETTLED:
                    changes.bind(attempt.generation_id, attempt=attempt.id, account=attempt.account)
                    settle = _reject if attempt.state is AttemptState.ABANDONED else _not_taken
                    settle(tries, attempt, _NOT_SENT)
            changes.flush()
        self._unsent.settled(ended)
        return len(ended) == len(generation_of)

    def renew(self, attempt_ids: Sequence[str], lease: timedelta) -> None:
        """Renew the claims on submissions in progress for another `lease`; abandoned ones do not change."""
        with self._database.write(under_way=True) as connection:
            connection.execute(_RENEW, {"ids": list(attempt_ids), "until": self._database.clock() + lease})
        self._settle_given_up()

    def record(self, results: Sequence[Submitted], poll_after: timedelta, *, callbacks: bool = True) -> None:
        """Record how submissions ended; one about which a callback has already said more is left unchanged.

        `poll_after`: when to poll a silent attempt first, until the usual duration of its kind is known;
        `callbacks`: whether their providers call back.
        """
        together(lambda some: self._record(some, poll_after, callbacks=callbacks), results)
        self._settle_given_up()

    def _record(self, results: Sequence[Submitted], poll_after: timedelta, *, callbacks: bool) -> Sequence[Submitted]:
        """Record these results in one transaction."""
        now = self._database.clock()
        with self._database.write(under_way=True) as connection:
            changes = Changes(connection, now)
            tries = Attempts(changes, [result.attempt_id for result in results])
            before = {result.attempt_id: tries[result.attempt_id] for result in results}
            accepted = [(it.attempt_id, it.result) for it in results if isinstance(it.result, Accepted)]
            tries.look_up((attempt_id, storable(reply.task_id)) for attempt_id, reply in accepted)
            providers = [attempt.provider for attempt in tries]
            patience = patience_with(connection, providers, poll_after, callbacks=callbacks)
            for it in results:
                attempt = before[it.attempt_id]
                if attempt.state not in _UNSETTLED:
                    continue
                changes.bind(attempt.generation_id, attempt=attempt.id, account=attempt.account)
                settle = _settle_replaced if attempt.state is AttemptState.ABANDONED else _settle
                settle(tries, attempt, it.result, patience)
            # Recalling generations to the line queries the database, so write the changes first.
            changes.write()
            # A reply overtaken by its callback still shows that the provider answers.
            answered = [(before[it.attempt_id], it.result) for it in results]
            heard = [it for it in answered if it[0].state in _UNSETTLED or isinstance(it[1], Accepted)]
            note_answers(changes, heard)
            changes.flush()
        self._unsent.settled(before)
        return results

    def mark_lost_unconfirmed(self) -> int:
        """Mark attempts whose worker died during the POST as UNCONFIRMED (outcome unknown); return how many."""
        now = self._database.clock()
        with self._database.write() as connection:
            overdue = connection.execute(
                select(attempts.c.id)
                .where(text(SENDING), attempts.c.lease_until < now)
                .order_by(attempts.c.lease_until)
                .limit(500)
            )
            changes = Changes(connection, now)
            lost = "the worker that submitted it died"
            expired = 0
            tries = Attempts(changes, overdue.scalars())
            for attempt in tries:
                # Only if it is still being sent: the query ran before the lock.
                if tries.move(attempt.id, AttemptState.UNCERTAIN, error=lost, poll_at=now):
                    expired += 1
                    changes.bind(attempt.generation_id, attempt=attempt.id)
                    changes.move(attempt.generation_id, State.UNCONFIRMED, lost, reason="worker_lost", message=lost)
            changes.flush()
            tally(connection, {TallyKey(Tally.RECOVERIES, "", "submission"): expired})
        return expired


def _claim(row: GenerationRow, lease_until: datetime) -> Claim:
    generation = to_generation(row)
    account = SANDBOX_ACCOUNT if generation.is_test else row.account or DEFAULT_ACCOUNT
    return Claim(secrets.token_hex(16), generation, account, lease_until)


def _attempt(claim: Claim, now: datetime) -> Values:
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


def _settle(tries: Attempts, attempt: Attempt, result: Accepted | ProviderError, patience: Patience) -> None:
    """Settle the attempt in any case; its generation moves unless an earlier attempt has already moved it further."""
    match result:
        case Accepted(task_id):
            _accepted(tries, attempt, storable(task_id), tries.changes.at + patience.first(kind_of_attempt(attempt)))
        case NotTaken():
            _not_taken(tries, attempt, result)
        case Rejected():
            if _reject(tries, attempt, result):
                facts = {"reason": result.code, "message": str(result)}
                tries.changes.move(attempt.generation_id, State.FAILED, "rejected", **facts)
        case ProviderError():
            _unconfirmed(tries, attempt, result.code, str(result))


def _accepted(tries: Attempts, attempt: Attempt, task_id: str, poll_at: datetime) -> None:
    if tries.is_taken(attempt.id, task_id):
        message = f"the provider answered with task_id {task_id}, which belongs to another attempt"
        _unconfirmed(tries, attempt, "task_id_taken", message)
        return
    # If an earlier attempt has succeeded meanwhile, the generation stays as it is. This attempt's outcome shows whether
    # it was charged as well. Earlier searches without success no longer count: it is now polled like any other.
    if not tries.move(attempt.id, AttemptState.ACCEPTED, task_id=task_id, poll_at=poll_at, polls=0):
        return
    tries.changes.move(
        attempt.generation_id,
        State.SUBMITTED,
        f"accepted as {task_id}",
        task_id=task_id,
        account=attempt.account,
        submitted_at=tries.changes.at,
        reason=None,
        message=None,
    )


def _settle_replaced(tries: Attempts, attempt: Attempt, result: Accepted | ProviderError, patience: Patience) -> None:
    """Apply the late reply to an attempt that a person has replaced: it no longer moves its generation."""
    match result:
        case Accepted(task_id):
            task_id = storable(task_id)
            if not tries.is_taken(attempt.id, task_id) and tries[attempt.id].state is AttemptState.ABANDONED:
                poll_at = tries.changes.at + patience.first(kind_of_attempt(attempt))
                # Resetting `polls` also keeps a search that is failing right now from becoming the last poll.
                tries.update(attempt.id, task_id=task_id, poll_at=poll_at, polls=0)
        case NotTaken() | Rejected():
            _reject(tries, attempt, result)


def _reject(tries: Attempts, attempt: Attempt, error: ProviderError) -> bool:
    return tries.move(attempt.id, AttemptState.REJECTED, error=str(error), settled_at=tries.changes.at)


def _not_taken(tries: Attempts, attempt: Attempt, error: NotTaken) -> None:
    # Even if its lease has ended meanwhile: the attempt is still live, so no person has decided, and nothing is
    # unclear, because its own worker knows.
    if not _reject(tries, attempt, error):
        return
    changes = tries.changes
    # A pause stops the account, not the generation: another account may take it, or this one once it resumes.
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


def _unconfirmed(tries: Attempts, attempt: Attempt, code: str, message: str) -> None:
    facts = {"error": message, "poll_at": tries.changes.at + timedelta(seconds=5)}
    if tries[attempt.id].state is AttemptState.UNCERTAIN:
        # It was marked because its lease had ended; now the reason is known.
        tries.update(attempt.id, **facts)
    else:
        tries.move(attempt.id, AttemptState.UNCERTAIN, **facts)
    tries.changes.move(attempt.generation_id, State.UNCONFIRMED, f"unclear: {code}", reason=code, message=message)
