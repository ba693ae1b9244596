"""What `record`, `apply_outcomes` and `record` of archives do, one row and one statement after the other.

As they were before they wrote groups: `test_groups` compares the ledgers that both make of the same history.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Table, func, select, text, update

from worker.errors import CallbackUnreadable, NotTaken, ProviderError, Rejected
from worker.generation import (
    ENDED_ATTEMPTS,
    FINAL,
    LIVE_ATTEMPTS,
    OPEN,
    TRANSITIONS,
    Accepted,
    AssetKind,
    AssetState,
    AttemptState,
    Outcome,
    State,
    Status,
    Trouble,
    Verdict,
)
from worker.ledger import Ledger
from worker.ledger.assets import ASSETS, ArchiveClaim, Archived, Lost, Postponed, Stored
from worker.ledger.assets.recording import FIRST_WAIT, retry_wait
from worker.ledger.changes import Changes, _Completed
from worker.ledger.charges import settle
from worker.ledger.dispatch import Answer, answer_of, backoff, note_answers
from worker.ledger.flows import line_up
from worker.ledger.outcome import VERDICTS, News
from worker.ledger.schema import (
    FOLLOW_UP_DUE,
    NEVER,
    UNSTORED,
    assets,
    attempts,
    batches,
    events,
    generations,
    storable,
    transitions,
)
from worker.ledger.statements import insert_ignoring, update_row
from worker.ledger.submission import LOOKS, Submitted, is_time_out, learn
from worker.ledger.submission.attempts import ATTEMPTS
from worker.ledger.submission.durations import Patience, kind_of, patience_with
from worker.pricing import as_text

_UNSETTLED = (AttemptState.SENDING, AttemptState.UNCERTAIN, AttemptState.ABANDONED)
_NO_MANIFEST = dict.fromkeys(("manifest_at", "manifest_lease", "manifest_not_before"))
_g, _a, _b = generations.c, assets.c, batches.c


def find_row(connection: Connection, table: Table, **where: Any) -> Any:
    """The row whose columns equal `where`; None without one."""
    return connection.execute(select(table).where(*[table.c[name] == value for name, value in where.items()])).first()


class RowByRow(Changes):
    def move(self, generation_id: str, to: State, cause: str, **values: Any) -> bool:
        source, batch_id = self._states[generation_id]
        if to not in TRANSITIONS[source]:
            return False
        if to in (FINAL | {State.SUCCEEDED}) - {State.DELETED}:
            values.setdefault("finished_at", self.at)
        at_source = {"id": generation_id, "state": source}
        if update_row(self.connection, generations, at_source, state=to, updated_at=self.at, **values) != 1:
            return False
        is_told = to in {State.FAILED, State.UNCONFIRMED, State.EXPIRED}
        why = {name: values[name] for name in ("reason", "message") if is_told and values.get(name)}
        self.record(generation_id, batch_id, source, to, cause, **why)
        return True

    def flush(self) -> None:
        line_up(self.connection, self._lined_up)
        for batch_id in self._opened:
            self._reopen_batch(batch_id)
        found = [(batch_id, self._complete_batch(batch_id)) for batch_id in sorted(self._perhaps_complete)]
        completed = [_Completed(batch_id, number) for batch_id, number in found if number is not None]
        for generation_id in sorted(self._priced):
            for late in settle(self.connection, [generation_id]):
                of = {"generation_id": late.generation_id, "batch_id": late.batch_id}
                self.event("budget.late_charge", **of, amount=as_text(late.price), day=late.day)
        self._tell_completed(completed)
        for table, rows in ((transitions, self._transitions), (events, self._events)):
            for row in rows:
                self.connection.execute(table.insert().values(dict(row)))

    def _reopen_batch(self, batch_id: str) -> None:
        was_complete = update(batches).where(_b.id == batch_id, _b.completed_at.is_not(None))
        self.connection.execute(was_complete.values(completed_at=None, **_NO_MANIFEST))

    def _complete_batch(self, batch_id: str) -> int | None:
        """How often it is complete now, if it is that now."""
        mine = update(batches).where(_b.id == batch_id)
        if self.connection.execute(select(_b.completed_at).where(_b.id == batch_id)).scalar_one() is not None:
            self.connection.execute(mine.values(_NO_MANIFEST))
            return None
        in_batch = select(_g.id).where(_g.batch_id == batch_id)
        is_over = (~in_batch.where(_g.state.in_(OPEN)).exists(), ~in_batch.where(text(FOLLOW_UP_DUE)).exists())
        completed = mine.where(_b.unfinished.is_(None), *is_over).values(
            completed_at=self.at, completions=_b.completions + 1
        )
        return self.connection.execute(completed.returning(_b.completions)).scalar()


def _move_attempt(connection: Connection, attempt_id: str, to: AttemptState, **values: Any) -> bool:
    if to not in LIVE_ATTEMPTS:
        values.setdefault("poll_at", None)
    return ATTEMPTS.move(connection, {"id": attempt_id}, to, **values) == 1


def _is_taken(connection: Connection, attempt: Any, task_id: str) -> bool:
    owner = find_row(connection, attempts, provider=attempt.provider, task_id=task_id)
    return owner is not None and owner.id != attempt.id


# --- submissions ---


def record_submissions(ledger: Ledger, results: Sequence[Submitted], poll_after: timedelta) -> None:
    with ledger.database.write(under_way=True) as connection:
        changes = RowByRow(connection, ledger.database.clock())
        found = (
            select(attempts, _g.operation, _g.speed)
            .join(generations, _g.id == attempts.c.generation_id)
            .where(attempts.c.id.in_([result.attempt_id for result in results]))
        )
        by_id = {row.id: row for row in connection.execute(found)}
        changes.lock(row.generation_id for row in by_id.values())
        patience = patience_with(connection, [row.provider for row in by_id.values()], poll_after)
        unsettled = [result for result in results if by_id[result.attempt_id].state in _UNSETTLED]
        for result in unsettled:
            attempt = by_id[result.attempt_id]
            one = _settle_replaced if attempt.state == AttemptState.ABANDONED else _settle
            one(changes, attempt, result.result, patience)
        heard = [it for it in results if it in unsettled or isinstance(it.result, Accepted)]
        note_answers(changes, [(by_id[it.attempt_id], it.result) for it in heard])
        changes.flush()


def _settle(changes: Changes, attempt: Any, result: Accepted | ProviderError, patience: Patience) -> None:
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
    if _is_taken(changes.connection, attempt, task_id):
        message = f"the provider answered with task_id {task_id}, which belongs to another attempt"
        _unconfirmed(changes, attempt, "task_id_taken", message)
        return
    facts = {"task_id": task_id, "poll_at": poll_at, "polls": 0}
    if not _move_attempt(changes.connection, attempt.id, AttemptState.ACCEPTED, **facts):
        return
    new = {"task_id": task_id, "account": attempt.account, "submitted_at": changes.at, "reason": None, "message": None}
    changes.move(attempt.generation_id, State.SUBMITTED, f"accepted as {task_id}", **new)


def _settle_replaced(changes: Changes, attempt: Any, result: Accepted | ProviderError, patience: Patience) -> None:
    match result:
        case Accepted(task_id):
            task_id = storable(task_id)
            if not _is_taken(changes.connection, attempt, task_id):
                poll_at = changes.at + patience.first(kind_of(attempt))
                mine = {"id": attempt.id, "state": AttemptState.ABANDONED}
                update_row(changes.connection, attempts, mine, task_id=task_id, poll_at=poll_at, polls=0)
        case NotTaken() | Rejected():
            _reject(changes, attempt, result)


def _reject(changes: Changes, attempt: Any, error: ProviderError) -> bool:
    facts = {"error": str(error), "settled_at": changes.at}
    return _move_attempt(changes.connection, attempt.id, AttemptState.REJECTED, **facts)


def _not_taken(changes: Changes, attempt: Any, error: NotTaken) -> None:
    if not _reject(changes, attempt, error):
        return
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
    if not _move_attempt(changes.connection, attempt.id, AttemptState.UNCERTAIN, **facts):
        update_row(changes.connection, attempts, {"id": attempt.id, "state": AttemptState.UNCERTAIN}, **facts)
    changes.move(attempt.generation_id, State.UNCONFIRMED, f"unclear: {code}", reason=code, message=message)


# --- outcomes ---


def apply_outcomes(ledger: Ledger, news: Sequence[News]) -> list[Verdict]:
    now = ledger.database.clock()
    with ledger.database.write(under_way=True) as connection:
        wanted = attempts.c.id.in_([item.attempt_id for item in news])
        owners = {
            row.id: row.generation_id
            for row in connection.execute(select(attempts.c.id, attempts.c.generation_id).where(wanted))
        }
        changes = RowByRow(connection, now)
        changes.lock(owners.values())
        verdicts: list[Verdict] = []
        ended: dict[str, datetime] = {}
        for item in news:
            note: str | None
            if isinstance(item.outcome, CallbackUnreadable):
                verdict, note = Verdict.UNREADABLE, str(item.outcome)
            elif item.attempt_id not in owners:
                verdict, note = Verdict.ORPHAN, "the ledger has no such attempt"
            else:
                verdict, note = _apply(changes, item, item.outcome)
                if verdict is Verdict.APPLIED and item.outcome.status is Status.SUCCEEDED and item.ended_at:
                    ended[item.attempt_id] = item.ended_at
            verdicts.append(verdict)
            if item.callback_id is not None:
                VERDICTS.move(connection, {"id": item.callback_id}, verdict, applied_at=now, error=note)
        changes.flush()
        learn(connection, ended)
    return verdicts


def _apply(changes: Changes, item: News, outcome: Outcome) -> tuple[Verdict, str | None]:
    connection = changes.connection
    attempt = find_row(connection, attempts, id=item.attempt_id)
    named = None if outcome.task_id is None else storable(outcome.task_id)
    task_id = attempt.task_id or named
    if named is not None and named != task_id:
        return Verdict.MISMATCH, f"it names task_id {named}, but this attempt is {task_id}"
    if attempt.task_id is None and task_id is not None and _is_taken(connection, attempt, task_id):
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
        if _move_attempt(changes.connection, attempt.id, AttemptState.SUCCEEDED, **facts):
            changes.event("generation.paid_twice", generation_id=attempt.generation_id, task_id=task_id)
        return Verdict.IGNORED, f"the generation is {source}"
    _move_attempt(changes.connection, attempt.id, AttemptState.SUCCEEDED, **facts)
    found: list[tuple[AssetKind, datetime, str, Any]] = [
        (link.kind, deadline, link.url, None) for link, deadline in zip(outcome.links, item.deadlines, strict=True)
    ]
    if outcome.text is not None:
        found.append((AssetKind.TEXT, NEVER, "", dict(outcome.text)))
    for index, (kind, deadline, url, content) in enumerate(found):
        row = {"generation_id": attempt.generation_id, "index": index, "kind": kind, "deadline": deadline, "url": url,
               "content": content, "state": AssetState.WAITING, "tries": 0, "renewals": 0}  # fmt: skip
        changes.connection.execute(insert_ignoring(changes.connection, assets).values(row))
    return Verdict.APPLIED, None


def _failed(
    changes: Changes, attempt: Any, task_id: str | None, item: News, outcome: Outcome
) -> tuple[Verdict, str | None]:
    facts = {"task_id": task_id, "error": outcome.message, "settled_at": changes.at}
    look_at = changes.at + LOOKS[0] if task_id is not None and is_time_out(outcome) else None
    _move_attempt(changes.connection, attempt.id, AttemptState.FAILED, poll_at=look_at, **facts)
    new = {"task_id": task_id, "reason": outcome.reason or "failed", "message": outcome.message}
    if attempt.state in LIVE_ATTEMPTS and changes.move(attempt.generation_id, State.FAILED, item.cause, **new):
        return Verdict.APPLIED, None
    return Verdict.IGNORED, f"the generation is {changes.state(attempt.generation_id)}"


def _in_progress(
    changes: Changes, attempt: Any, task_id: str | None, item: News, outcome: Outcome
) -> tuple[Verdict, str | None]:
    connection = changes.connection
    generation_id, is_live = attempt.generation_id, attempt.state in LIVE_ATTEMPTS
    applied = False
    if task_id is not None and attempt.task_id is None:
        facts = {"task_id": task_id, "poll_at": changes.at, "polls": 0}
        if not (is_live and _move_attempt(connection, attempt.id, AttemptState.ACCEPTED, **facts)):
            update_row(connection, attempts, {"id": attempt.id, "state": attempt.state}, **facts)
        applied = True
    if is_live and task_id is not None and changes.state(generation_id) in {State.SUBMITTING, State.UNCONFIRMED}:
        new = {"account": attempt.account, "submitted_at": changes.at, "reason": None, "message": None}
        changes.move(generation_id, State.SUBMITTED, f"{item.cause}: in progress", task_id=task_id, **new)
    if is_live and outcome.progress is not None and changes.state(generation_id) is State.SUBMITTED:
        further = connection.execute(
            update(generations)
            .where(_g.id == generation_id, _g.progress.is_(None) | (_g.progress < outcome.progress))
            .values(progress=outcome.progress, updated_at=changes.at)
        )
        applied = applied or further.rowcount == 1
    return (Verdict.APPLIED, None) if applied else (Verdict.IGNORED, "nothing new")


# --- archives ---


def record_archived(ledger: Ledger, done: Sequence[Archived]) -> frozenset[str]:
    with ledger.database.write(under_way=True) as connection:
        changes = RowByRow(connection, ledger.database.clock())
        changes.lock(archived.claim.generation.id for archived in done)
        held = {archived.claim.generation.id: _results(changes, archived) for archived in done}
        kinds: dict[str, dict[AssetState, tuple[str | None, str | None]]] = {one: {} for one in held}
        query = (
            select(_a.generation_id, _a.state, _a.reason, func.max(_a.error).label("error"))
            .where(_a.generation_id.in_(list(held)))
            .group_by(_a.generation_id, _a.state, _a.reason)
            .order_by(func.coalesce(_a.reason, ""))
        )
        for row in connection.execute(query):
            kinds[row.generation_id][AssetState(row.state)] = (row.reason, row.error)
        for archived in done:
            if held[archived.claim.generation.id]:
                _finish(changes, archived, kinds[archived.claim.generation.id])
        changes.flush()
    return frozenset(generation_id for generation_id, is_held in held.items() if is_held)


def _results(changes: Changes, archived: Archived) -> bool:
    claim = archived.claim
    held = [_record(changes, claim, result) for result in archived.results]
    if len(held) < sum(asset.state is AssetState.WAITING for asset in claim.assets):
        mine = (_a.generation_id == claim.generation.id, _a.lease == claim.lease, text(UNSTORED))
        given_back = update(assets).where(*mine).values(lease=None, not_before=None, tries=_a.tries - 1)
        changes.connection.execute(given_back)
    return all(held)


def _finish(changes: Changes, archived: Archived, kinds: Mapping[AssetState, tuple[str | None, str | None]]) -> None:
    generation_id = archived.claim.generation.id
    if set(kinds) == {AssetState.STORED} and archived.described:
        changes.move(generation_id, State.ARCHIVED, f"{len(archived.claim.assets)} stored")
    elif AssetState.WAITING not in kinds and AssetState.EXPIRED in kinds:
        reason, error = kinds[AssetState.EXPIRED]
        reason = reason or Trouble.LINK_DEAD
        changes.move(generation_id, State.EXPIRED, reason.replace("_", " "), reason=reason, message=error)


def _record(changes: Changes, claim: ArchiveClaim, result: Stored | Postponed | Lost) -> bool:
    generation = claim.generation
    asset = next(asset for asset in claim.assets if asset.index == result.index)
    payload: dict[str, Any] = {"index": result.index}
    to, event = AssetState.WAITING, None
    values: dict[str, Any]
    if isinstance(result, Stored):
        to, event = AssetState.STORED, "asset.archived"
        copied = ("key", "sha256", "bytes", "content_type", "width", "height", "seconds", "source_sha256", "verified",
                  "remark")  # fmt: skip
        values = {name: getattr(result, name) for name in copied}
        values |= dict.fromkeys(("reason", "error", "refused_bytes", "refused_sha256", "refused_type"))
        values |= {} if result.accepted else dict.fromkeys(("refused_why", "accepted_by", "accepted_at"))
        payload |= {"key": result.key, "sha256": result.sha256}
        payload |= {} if result.remark is None else {"remark": result.remark}
    elif isinstance(result, Lost):
        to, event = AssetState.EXPIRED, "asset.expired"
        values = {"reason": result.reason, "error": result.error}
        payload |= values
    else:
        values = {"reason": result.reason, "error": result.error}
        wait = FIRST_WAIT
        if result.goes_on:
            values["tries"] = asset.tries - 1
        elif result.url is None:
            age = changes.at - (generation.finished_at or generation.created_at)
            wait = retry_wait(asset.tries, age, asset.deadline - changes.at, result.reason)
        else:
            values |= {"url": result.url, "deadline": result.deadline, "renewals": asset.renewals + 1}
        values["not_before"] = changes.at + wait
    if not isinstance(result, Stored) and result.refused is not None:
        values |= {f"refused_{name}": getattr(result.refused, name) for name in ("bytes", "sha256", "type", "why")}
        if asset.refused is None or asset.refused.sha256 != result.refused.sha256:
            values |= dict.fromkeys(("accepted_by", "accepted_at"))
    mine = {"generation_id": generation.id, "index": result.index, "lease": claim.lease}
    values["lease"] = None
    if to is AssetState.WAITING:
        held = update_row(changes.connection, assets, {**mine, "state": to}, **values) == 1
    else:
        held = ASSETS.move(changes.connection, mine, to, **values) == 1
    if held and event is not None:
        changes.event(event, generation_id=generation.id, batch_id=generation.batch_id, **payload)
    return held
