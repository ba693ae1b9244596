"""What a callback or a poll said, applied to its generation: once, monotone, whatever the order of arrival."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

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
from worker.ledger.schema import NEVER, assets, attempts, generations, storable
from worker.ledger.statements import IDS, insert_ignoring, select_in, update_row
from worker.ledger.submission import LOOKS, is_time_out, learn, move_attempt, task_id_taken

_OWNERS = select(attempts.c.id, attempts.c.generation_id).where(attempts.c.id.in_(IDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is known about one attempt. `cause`: callback or poll; `deadlines`: one per link of the outcome.

    `ended_at`: when the provider was done, where that is known well enough to learn from.
    """

    attempt_id: str
    outcome: Outcome | CallbackUnreadable
    cause: str
    deadlines: tuple[datetime, ...] = ()
    callback_id: int | None = None
    ended_at: datetime | None = None


class Outcomes(Part):
    def apply_outcomes(self, news: Sequence[News]) -> list[Verdict]:
        """Apply them in one transaction; the verdict on each: applied, ignored, mismatch, unreadable or orphan."""
        now = self._database.clock()
        with self._database.write(under_way=True) as connection:
            wanted = [item.attempt_id for item in news]
            owners = {row.id: row.generation_id for row in select_in(connection, _OWNERS, wanted)}
            changes = Changes(connection, now)
            changes.lock(owners.values())
            verdicts: list[Verdict] = []
            note: str | None
            for item in news:
                if isinstance(item.outcome, CallbackUnreadable):
                    verdict, note = Verdict.UNREADABLE, str(item.outcome)
                elif item.attempt_id not in owners:
                    verdict, note = Verdict.ORPHAN, "the ledger knows no such attempt"
                else:
                    verdict, note = _apply(changes, item, item.outcome)
                verdicts.append(verdict)
                if item.callback_id is not None:
                    VERDICTS.move(connection, {"id": item.callback_id}, verdict, applied_at=now, error=note)
            changes.flush()
            learn(connection, _ended(news, verdicts))
        return verdicts


def _ended(news: Sequence[News], verdicts: Sequence[Verdict]) -> dict[str, datetime]:
    return {
        item.attempt_id: item.ended_at
        for item, verdict in zip(news, verdicts, strict=True)
        if verdict is Verdict.APPLIED
        and item.ended_at is not None
        and isinstance(item.outcome, Outcome)
        and item.outcome.status is Status.SUCCEEDED
    }


def _apply(changes: Changes, item: News, outcome: Outcome) -> tuple[Verdict, str | None]:
    connection = changes.connection
    attempt = connection.execute(select(attempts).where(attempts.c.id == item.attempt_id)).one()
    changes.bind(attempt.generation_id, attempt=attempt.id, account=attempt.account)
    named = None if outcome.task_id is None else storable(outcome.task_id)
    task_id = attempt.task_id or named
    if named is not None and named != task_id:
        return Verdict.MISMATCH, f"it names task_id {named}, but this attempt is {task_id}"
    if attempt.task_id is None and task_id is not None and task_id_taken(connection, attempt, task_id):
        return Verdict.MISMATCH, f"task_id {task_id} belongs to another attempt"
    if outcome.status is Status.SUCCEEDED:
        return _succeeded(changes, attempt, task_id, item, outcome)
    if attempt.state in ENDED_ATTEMPTS:
        return Verdict.IGNORED, f"the attempt is {attempt.state}"
    if outcome.status is Status.FAILED:
        return _failed(changes, attempt, task_id, item, outcome)
    return _in_progress(changes, attempt, task_id, item, outcome)


def _succeeded(
    changes: Changes, attempt: Any, task_id: str | None, item: News, outcome: Outcome
) -> tuple[Verdict, str | None]:
    source = changes.state(attempt.generation_id)
    facts = {"task_id": task_id, "settled_at": changes.at}
    # An expired generation comes back only when a person asks for its links again.
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
    if not moved:
        if move_attempt(changes.connection, attempt.id, AttemptState.SUCCEEDED, **facts):
            # Paid for a second time after a person had it submitted again: somebody must see that.
            changes.event("generation.paid_twice", generation_id=attempt.generation_id, task_id=task_id)
        return Verdict.IGNORED, f"the generation is {source}"
    move_attempt(changes.connection, attempt.id, AttemptState.SUCCEEDED, **facts)
    rows = [
        _asset(attempt.generation_id, index, link.kind, deadline, url=link.url)
        for index, (link, deadline) in enumerate(zip(outcome.links, item.deadlines, strict=True))
    ]
    if outcome.text is not None:
        rows.append(_asset(attempt.generation_id, len(rows), AssetKind.TEXT, NEVER, content=dict(outcome.text)))
    if rows:
        changes.connection.execute(insert_ignoring(changes.connection, assets), rows)
    return Verdict.APPLIED, None


def _asset(
    generation_id: str,
    index: int,
    kind: AssetKind,
    deadline: datetime,
    *,
    url: str = "",
    content: dict[str, Any] | None = None,
) -> dict[str, Any]:
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


def _failed(
    changes: Changes, attempt: Any, task_id: str | None, item: News, outcome: Outcome
) -> tuple[Verdict, str | None]:
    facts = {"task_id": task_id, "error": outcome.message, "settled_at": changes.at}
    # Its picture may have come after all.
    look_at = changes.at + LOOKS[0] if task_id is not None and is_time_out(outcome) else None
    move_attempt(changes.connection, attempt.id, AttemptState.FAILED, poll_at=look_at, **facts)
    # One that a person had submitted again takes its generation nowhere.
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


def _in_progress(
    changes: Changes, attempt: Any, task_id: str | None, item: News, outcome: Outcome
) -> tuple[Verdict, str | None]:
    """Progress proves that the task exists; it never takes a generation back."""
    connection = changes.connection
    generation_id, is_live = attempt.generation_id, attempt.state in LIVE_ATTEMPTS
    applied = False
    if task_id is not None and attempt.task_id is None:
        # It may have been looked for often and in vain; from here on it is asked for like any other.
        facts = {"task_id": task_id, "poll_at": changes.at, "polls": 0}
        if not (is_live and move_attempt(connection, attempt.id, AttemptState.ACCEPTED, **facts)):
            update_row(connection, attempts, {"id": attempt.id, "state": attempt.state}, **facts)
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
        g = generations.c
        # Callbacks overtake each other, so it only grows.
        further = connection.execute(
            update(generations)
            .where(g.id == generation_id, g.progress.is_(None) | (g.progress < outcome.progress))
            .values(progress=outcome.progress, updated_at=changes.at)
        )
        applied = applied or further.rowcount == 1
    return (Verdict.APPLIED, None) if applied else (Verdict.IGNORED, "nothing new")
