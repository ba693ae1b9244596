"""Applies reports of callbacks and polls to generations: once, never backwards, whatever the order of arrival."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import select

from worker.errors import CallbackUnreadable
from worker.generation import (
    ENDED_ATTEMPTS,
    LIVE_ATTEMPTS,
    AssetKind,
    AssetState,
    AttemptState,
    Outcome,
    State,
    Status,
    Verdict,
)
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.outcome.verdicts import VERDICTS
from worker.ledger.schema import NEVER, Tally, assets, callbacks, storable
from worker.ledger.statements import IDS, Query, Values, columns_of, insert_rows, together
from worker.ledger.submission import LOOKS, Attempt, Attempts, is_time_out, learn
from worker.ledger.tallies import TallyKey, tally


class _Callback(NamedTuple):
    id: int
    provider: str
    verdict: str | None


# Locked after generations and attempts, in order of id.
_CALLBACKS = Query(
    _Callback,
    select(*columns_of(callbacks, _Callback))
    .where(callbacks.c.id.in_(IDS))
    .order_by(callbacks.c.id)
    .with_for_update(key_share=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is known about one attempt. `cause`: callback or poll; `deadlines`: one per link of the outcome.

    `ended_at`: when the provider finished, if that is known precisely enough to learn from.
    """

    attempt_id: str
    outcome: Outcome | CallbackUnreadable
    cause: str
    deadlines: tuple[datetime, ...] = ()
    callback_id: int | None = None
    ended_at: datetime | None = None


#: the verdict, and why it is not a better one
_Decision = tuple[Verdict, str | None]


class Outcomes(Part):
    def apply_outcomes(self, news: Sequence[News], *, tells_progress: bool = False) -> list[Verdict]:
        """Apply reports in one transaction; return the verdicts: applied, ignored, mismatch, unreadable or orphan.

        `tells_progress`: record an event when a generation advances.
        """
        return together(partial(self._apply_outcomes, tells_progress=tells_progress), news)

    def _apply_outcomes(self, news: Sequence[News], *, tells_progress: bool) -> list[Verdict]:
        with self._database.write(under_way=True) as connection:
            changes = Changes(connection, self._database.clock(), tells_progress=tells_progress)
            tries = Attempts(changes, [item.attempt_id for item in news])
            tries.look_up(_new_task_ids(tries, news))
            decisions = [_decision(tries, item) for item in news]
            judged = _note_verdicts(changes, news, decisions)
            verdicts = [verdict for verdict, _ in decisions]
            succeeded = [
                (item, outcome) for item, outcome in _applied(news, verdicts) if outcome.status is Status.SUCCEEDED
            ]
            rows = [row for item, outcome in succeeded for row in _assets(tries[item.attempt_id], item, outcome)]
            insert_rows(connection, assets, rows, ignoring=True)
            changes.flush()
            tally(connection, judged)
            learn(connection, {item.attempt_id: item.ended_at for item, _ in succeeded if item.ended_at is not None})
        return verdicts


def _new_task_ids(tries: Attempts, news: Sequence[News]) -> Iterator[tuple[str, str]]:
    """The task_ids of attempts that had none so far."""
    for item in news:
        named = item.outcome.task_id if isinstance(item.outcome, Outcome) else None
        if named is not None and item.attempt_id in tries and tries[item.attempt_id].task_id is None:
            yield item.attempt_id, storable(named)


def _decision(tries: Attempts, item: News) -> _Decision:
    if isinstance(item.outcome, CallbackUnreadable):
        return Verdict.UNREADABLE, str(item.outcome)
    if item.attempt_id not in tries:
        return Verdict.ORPHAN, "the ledger has no such attempt"
    return _apply(tries, item, item.outcome)


def _note_verdicts(changes: Changes, news: Sequence[News], decisions: Sequence[_Decision]) -> Counter[TallyKey]:
    """Record the verdicts and count them; a callback that another worker has applied meanwhile keeps its verdict."""
    judged = Counter[TallyKey]()
    decided = {item.callback_id: it for item, it in zip(news, decisions, strict=True) if item.callback_id is not None}
    for row in _CALLBACKS.each(changes.connection, sorted(decided)):
        verdict, note = decided[row.id]
        standing = None if row.verdict is None else Verdict(row.verdict)
        if VERDICTS.allows(standing, verdict):
            facts = {"verdict": verdict, "applied_at": changes.at, "error": note}
            changes.updates.set(callbacks, row.id, {"verdict": standing}, facts)
            judged[TallyKey(Tally.CALLBACKS, row.provider, verdict)] += 1
    return judged


def _applied(news: Sequence[News], verdicts: Sequence[Verdict]) -> Iterator[tuple[News, Outcome]]:
    for item, verdict in zip(news, verdicts, strict=True):
        if verdict is Verdict.APPLIED and isinstance(item.outcome, Outcome):
            yield item, item.outcome


def _apply(tries: Attempts, item: News, outcome: Outcome) -> _Decision:
    attempt = tries[item.attempt_id]
    tries.changes.bind(attempt.generation_id, attempt=attempt.id, account=attempt.account)
    named = None if outcome.task_id is None else storable(outcome.task_id)
    task_id = attempt.task_id or named
    if named is not None and named != task_id:
        return Verdict.MISMATCH, f"it names task_id {named}, but this attempt is {task_id}"
    if attempt.task_id is None and task_id is not None and tries.is_taken(attempt.id, task_id):
        return Verdict.MISMATCH, f"task_id {task_id} belongs to another attempt"
    if outcome.status is Status.SUCCEEDED:
        return _succeeded(tries, attempt, task_id, item, outcome)
    if attempt.state in ENDED_ATTEMPTS:
        return Verdict.IGNORED, f"the attempt is {attempt.state}"
    if outcome.status is Status.FAILED:
        return _failed(tries, attempt, task_id, item, outcome)
    return _in_progress(tries, attempt, task_id, item, outcome)


def _succeeded(tries: Attempts, attempt: Attempt, task_id: str | None, item: News, outcome: Outcome) -> _Decision:
    changes = tries.changes
    source = changes.state(attempt.generation_id)
    # An expired generation is restored only when a person requests its links again.
    moved = source is not State.EXPIRED and changes.move(
        attempt.generation_id,
        State.SUCCEEDED,
        item.cause if source is not State.FAILED else f"{item.cause}: success after failure",
        task_id=task_id,
        account=attempt.account,
        progress=100,
        reason=None,
        message=None,
        actions=list(outcome.actions),
        handle=dict(outcome.parent),
    )
    is_new = tries.move(attempt.id, AttemptState.SUCCEEDED, task_id=task_id, settled_at=changes.at)
    if moved:
        return Verdict.APPLIED, None
    if is_new:
        # Paid for twice, after a person had it resubmitted: somebody must see that.
        changes.event("generation.paid_twice", generation_id=attempt.generation_id, task_id=task_id)
    return Verdict.IGNORED, f"the generation is {source}"


def _assets(attempt: Attempt, item: News, outcome: Outcome) -> list[Values]:
    rows = [
        _asset(attempt.generation_id, index, link.kind, deadline, url=link.url)
        for index, (link, deadline) in enumerate(zip(outcome.links, item.deadlines, strict=True))
    ]
    if outcome.text is not None:
        rows.append(_asset(attempt.generation_id, len(rows), AssetKind.TEXT, NEVER, content=dict(outcome.text)))
    return rows


def _asset(
    generation_id: str,
    index: int,
    kind: AssetKind,
    deadline: datetime,
    *,
    url: str = "",
    content: Values | None = None,
) -> Values:
    return {
        "generation_id": generation_id,
        "index": index,
        "kind": kind,
        "url": url,
        "content": content,
        "deadline": deadline,
        "state": AssetState.WAITING,
        "tries": 0,
        "renewals": 0,
    }


def _failed(tries: Attempts, attempt: Attempt, task_id: str | None, item: News, outcome: Outcome) -> _Decision:
    changes = tries.changes
    # Its image may have arrived after all.
    look_at = changes.at + LOOKS[0] if task_id is not None and is_time_out(outcome) else None
    facts = {"task_id": task_id, "error": outcome.message, "settled_at": changes.at}
    tries.move(attempt.id, AttemptState.FAILED, poll_at=look_at, **facts)
    # An attempt that a person has replaced no longer moves its generation.
    if attempt.state in LIVE_ATTEMPTS and changes.move(
        attempt.generation_id,
        State.FAILED,
        item.cause,
        task_id=task_id,
        reason=outcome.reason or "failed",
        message=outcome.message,
    ):
        return Verdict.APPLIED, None
    return Verdict.IGNORED, f"the generation is {changes.state(attempt.generation_id)}"


def _in_progress(tries: Attempts, attempt: Attempt, task_id: str | None, item: News, outcome: Outcome) -> _Decision:
    """Progress proves that the task exists; it never moves a generation back."""
    changes = tries.changes
    generation_id, is_live = attempt.generation_id, attempt.state in LIVE_ATTEMPTS
    applied = False
    if task_id is not None and attempt.task_id is None:
        # Earlier searches without success no longer count: it is now polled like any other.
        facts = {"task_id": task_id, "poll_at": changes.at, "polls": 0}
        if not (is_live and tries.move(attempt.id, AttemptState.ACCEPTED, **facts)):
            tries.update(attempt.id, **facts)
        applied = True
    if is_live and task_id is not None and changes.state(generation_id) in {State.SUBMITTING, State.UNCONFIRMED}:
        changes.move(
            generation_id,
            State.SUBMITTED,
            f"{item.cause}: in progress",
            task_id=task_id,
            account=attempt.account,
            submitted_at=changes.at,
            reason=None,
            message=None,
        )
    if is_live and outcome.progress is not None and changes.state(generation_id) is State.SUBMITTED:
        applied = changes.advance(generation_id, outcome.progress) or applied
    return (Verdict.APPLIED, None) if applied else (Verdict.IGNORED, "nothing new")
