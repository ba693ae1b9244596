"""Imports tasks that a provider has and the ledger does not, as generations submitted elsewhere."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select, text, union, update

from worker.generation import AttemptState, Generation, GenerationRequest, State
from worker.ledger.budget import book_sent
from worker.ledger.changes import Changes
from worker.ledger.database import Part
from worker.ledger.generations.creation import insert_generations
from worker.ledger.generations.new_generation import NewGeneration
from worker.ledger.rows import GENERATION, GenerationRow, to_generation
from worker.ledger.schema import IN_FLIGHT, POLLED, CleanText, Json, attempts, generations
from worker.ledger.statements import IDS, Query, columns_of
from worker.pricing import Prices
from worker.secrets import DEFAULT_ACCOUNT, SANDBOX_ACCOUNT

#: how much earlier or later than its submission a task may have been created, because the clocks of provider and worker
#: differ, and because the task may be created some time after the POST
EARLIER, LATER = timedelta(minutes=5), timedelta(minutes=15)


class _OfTask(NamedTuple):
    task_id: str
    generation_id: str


class _Attempt(NamedTuple):
    id: str
    task_id: str | None
    generation_id: str
    provider: str
    account: str


class _Unclear(NamedTuple):
    id: str
    generation_id: str
    state: str
    sent_at: datetime
    candidates: Sequence[str] | None


_a, _g = attempts.c, generations.c
_PROVIDER = bindparam("provider", type_=CleanText())
_ACCOUNT = bindparam("account", type_=CleanText())
_BY_TASK = Query(_OfTask, select(_a.task_id, _a.generation_id).where(_a.provider == _PROVIDER, _a.task_id.in_(IDS)))
_BY_ID = Query(_Attempt, select(*columns_of(attempts, _Attempt)).where(_a.id.in_(IDS)))
# The condition on the state is a query of its own, because both tables have such a column.
_UNDER_WAY = select(_g.id).where(text(f"({IN_FLIGHT})"), _g.provider == _PROVIDER)
_OF_ACCOUNT = select(*columns_of(attempts, _Unclear)).where(
    _a.provider == _PROVIDER, _a.account == _ACCOUNT, _a.task_id.is_(None)
)
# Includes attempts that are only still polled for: another attempt has advanced their generation.
_UNCLEAR = (AttemptState.SENDING, AttemptState.UNCERTAIN)
_WITHOUT_TASK = Query(
    _Unclear,
    union(
        _OF_ACCOUNT.where(_a.generation_id.in_(_UNDER_WAY), _a.state.in_(_UNCLEAR)),
        _OF_ACCOUNT.where(text(POLLED)),
    ),
)
_GENERATIONS = Query(GenerationRow, select(*GENERATION).where(_g.id.in_(IDS)))
_UNSETTLED = (
    select(_a.id)
    .where(_a.id == bindparam("attempt", type_=CleanText()), _a.task_id.is_(None))
    # An attempt that another transaction has locked is being settled.
    .with_for_update(skip_locked=True)
)
_NOTE = update(attempts).where(_a.id.in_(_UNSETTLED)).values(candidates=bindparam("found", type_=Json()))


class Place(StrEnum):
    #: not made by this ledger, or no longer known to it
    NEW = "new"
    #: the ledger has it under this task_id
    KNOWN = "known"
    #: carries the mark of a submission from this ledger whose task_id is not known yet
    MARKED = "marked"
    #: carries no mark, and may be a submission whose reply is missing
    DOUBTFUL = "doubtful"
    #: cannot be stored
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A task at a provider. `attempt_id`: from its mark; `marked`: whether it has any mark at all."""

    task_id: str
    request: GenerationRequest
    created_at: datetime | None
    attempt_id: str | None
    marked: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a task belongs. Without `attempt_id`, its outcome has no place in the ledger (yet). `error`: if REFUSED."""

    place: Place
    generation_id: str | None = None
    attempt_id: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutTask:
    """A submission without a task_id. `is_sending`: its reply may still arrive.

    `candidates`: task_ids among which a person may find its own.
    """

    attempt_id: str
    generation: Generation
    sent_at: datetime
    is_sending: bool
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger has for these task_ids and marks, and its attempts without a task_id."""

    task_ids: frozenset[str]
    attempt_ids: frozenset[str]
    without_task: tuple[WithoutTask, ...]


class TaskImport(Part):
    def known_tasks(self, provider: str, account: str, task_ids: Sequence[str], attempt_ids: Sequence[str]) -> Known:
        """Look up these tasks and marks, and submissions to this account without a task."""
        with self._database.read() as connection:
            rows = _WITHOUT_TASK.all(connection, provider=provider, account=account)
            owners = _GENERATIONS.each(connection, sorted({row.generation_id for row in rows}))
            generation_of = {row.id: to_generation(row) for row in owners}
            return Known(
                frozenset(row.task_id for row in _BY_TASK.each(connection, task_ids, provider=provider)),
                frozenset(row.id for row in _BY_ID.each(connection, attempt_ids)),
                tuple(
                    WithoutTask(
                        attempt_id=row.id,
                        generation=generation_of[row.generation_id],
                        sent_at=row.sent_at,
                        is_sending=row.state == AttemptState.SENDING,
                        candidates=tuple(row.candidates or ()),
                    )
                    for row in rows
                ),
            )

    def note_candidates(self, candidates: Mapping[str, Sequence[str]]) -> None:
        """Store candidate task_ids by attempt, for a person to decide."""
        rows = [{"attempt": attempt_id, "found": list(found) or None} for attempt_id, found in candidates.items()]
        with self._database.write(under_way=True) as connection:
            connection.execute(_NOTE, rows)

    def match_tasks(self, provider: str, orphans: Sequence[Orphan], account: str = DEFAULT_ACCOUNT) -> list[Placed]:
        """Return what `import_tasks` would do; changes nothing. `account`: the account with the list."""
        with self._database.read() as connection:
            return _place(connection, provider, account, orphans)

    def import_tasks(
        self,
        provider: str,
        orphans: Sequence[Orphan],
        account: str = DEFAULT_ACCOUNT,
        waiting: Mapping[str, str] | None = None,
        prices: Prices | None = None,
    ) -> list[Placed]:
        """Record NEW tasks as submitted, with an accepted attempt. Idempotent; sends nothing.

        `waiting`: task_id → the queued generation that the task belongs to, which is then not submitted. `prices`:
        charge NEW tasks to this ledger's budgets; without prices, they count in no budget. The tasks' outcomes are
        applied afterwards.
        """
        owners = waiting or {}
        with self._database.write() as connection:
            placed = _place(connection, provider, account, orphans)
            chosen = [(index, orphans[index]) for index, one in enumerate(placed) if one.place is Place.NEW]
            changes = Changes(connection, self._database.clock())
            known = changes.lock(owners[orphan.task_id] for _, orphan in chosen if orphan.task_id in owners)
            for index, orphan in chosen[:]:
                owner = owners.get(orphan.task_id)
                is_ours = owner in known and changes.is_test(str(owner)) == (account == SANDBOX_ACCOUNT)
                if is_ours and changes.state(str(owner)) is State.QUEUED:
                    attempt_id = _submitted(changes, str(owner), (provider, account), orphan)
                    placed[index] = Placed(Place.NEW, owner, attempt_id)
                    chosen.remove((index, orphan))
            wanted = [
                NewGeneration(provider=provider, request=orphan.request, dedupe=f"rescue/{provider}/{orphan.task_id}")
                for _, orphan in chosen
            ]
            made, _ = insert_generations(connection, changes, wanted, None)
            for (index, orphan), generation in zip(chosen, made, strict=True):
                if generation.state is not State.QUEUED:
                    # Another process has imported it in the meantime.
                    placed[index] = Placed(Place.KNOWN, generation.id)
                    continue
                attempt_id = _submitted(changes, generation.id, (provider, account), orphan)
                placed[index] = Placed(Place.NEW, generation.id, attempt_id)
            if prices is not None:
                ours = [one.generation_id for one in placed if one.place is Place.NEW and one.generation_id]
                book_sent(changes, prices, ours)
            changes.flush()
        return placed


def _place(connection: Connection, provider: str, account: str, orphans: Sequence[Orphan]) -> list[Placed]:
    task_ids = [orphan.task_id for orphan in orphans]
    known = _BY_TASK.each(connection, task_ids, provider=provider)
    owners = {row.task_id: row.generation_id for row in known}
    named = {row.id: row for row in _BY_ID.each(connection, [one.attempt_id for one in orphans if one.attempt_id])}
    unclear = _WITHOUT_TASK.all(connection, provider=provider, account=account)
    seen: set[str] = set()
    placed = []
    for orphan in orphans:
        mine = named.get(orphan.attempt_id or "")
        if orphan.task_id in owners or orphan.task_id in seen:
            placed.append(Placed(Place.KNOWN, owners.get(orphan.task_id)))
        elif mine is not None and _is_at(mine, provider, account) and mine.task_id is None:
            placed.append(Placed(Place.MARKED, mine.generation_id, mine.id))
        elif mine is None and not orphan.marked and (whose := _perhaps(orphan, unclear)) is not None:
            placed.append(Placed(Place.DOUBTFUL, whose))
        else:
            placed.append(Placed(Place.NEW))
        seen.add(orphan.task_id)
    return placed


def _is_at(attempt: _Attempt, provider: str, account: str) -> bool:
    """Return whether the account's list may show this attempt.

    Accounts may be renamed, but nothing moves between a provider and the sandbox.
    """
    return attempt.provider == provider and (attempt.account == SANDBOX_ACCOUNT) == (account == SANDBOX_ACCOUNT)


def _perhaps(orphan: Orphan, unclear: Sequence[_Unclear]) -> str | None:
    """Return the submission without a task_id that this task may belong to, judging by its time."""
    made = orphan.created_at
    near = (row for row in unclear if made is None or row.sent_at - EARLIER <= made <= row.sent_at + LATER)
    return next((row.generation_id for row in near), None)


def _submitted(changes: Changes, generation_id: str, whose: tuple[str, str], orphan: Orphan) -> str:
    provider, account = whose
    sent_at = orphan.created_at or changes.at
    # Use the id that its callbacks carry, so that they find it, unless a second task carries the same one.
    taken = changes.connection.execute(select(_a.id).where(_a.id == orphan.attempt_id)).first()
    attempt_id = secrets.token_hex(16) if orphan.attempt_id is None or taken else orphan.attempt_id
    number = changes.connection.execute(select(_g.tries).where(_g.id == generation_id)).scalar_one() + 1
    changes.connection.execute(
        attempts.insert().values(
            id=attempt_id,
            generation_id=generation_id,
            provider=provider,
            account=account,
            number=number,
            state=AttemptState.ACCEPTED,
            task_id=orphan.task_id,
            sent_at=sent_at,
            lease_until=sent_at,
            poll_at=changes.at,
        )
    )
    changes.move(generation_id, State.SUBMITTING, "rescued: its provider already has it", tries=number)
    changes.move(
        generation_id,
        State.SUBMITTED,
        f"rescued as {orphan.task_id}",
        task_id=orphan.task_id,
        account=account,
        submitted_at=sent_at,
        # If it was waiting for budget, it no longer is.
        held=None,
        held_prices=None,
        held_label=None,
        reason=None,
        message=None,
    )
    changes.event("generation.imported", generation_id=generation_id, provider=provider, task_id=orphan.task_id)
    return attempt_id
