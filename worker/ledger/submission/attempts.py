"""Attempts of locked generations: each is read once, moved in memory, and written with its generation."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import bindparam, select

from worker.generation import ATTEMPT_MOVES, LIVE_ATTEMPTS, AttemptState, State
from worker.ledger.changes import Changes
from worker.ledger.moves import Machine
from worker.ledger.schema import CleanText, attempts, generations
from worker.ledger.statements import IDS, NOW, Query

ATTEMPTS = Machine(attempts.c.state, ATTEMPT_MOVES)
_a, _g = attempts.c, generations.c


class Attempt(NamedTuple):
    """An attempt as read, or as changed so far, with the fields of its generation that determine its usual duration."""

    id: str
    generation_id: str
    provider: str
    account: str
    number: int
    state: AttemptState
    task_id: str | None
    operation: str
    speed: str | None


class _Owner(NamedTuple):
    generation_id: str


class _Task(NamedTuple):
    id: str
    task_id: str


_OWNERS = Query(_Owner, select(_a.generation_id).where(_a.id.in_(IDS)))
_THESE = Query(
    Attempt,
    select(_a.id, _a.generation_id, _a.provider, _a.account, _a.number, _a.state, _a.task_id, _g.operation, _g.speed)
    .join(generations, _g.id == _a.generation_id)
    .where(_a.id.in_(IDS))
    # Locked after their generations, in order of id. Polling them or renewing their leases locks no generation.
    .order_by(_a.id)
    .with_for_update(of=attempts, key_share=True),
)
_BY_TASK = Query(
    _Task,
    select(_a.id, _a.task_id).where(_a.provider == bindparam("provider", type_=CleanText()), _a.task_id.in_(IDS)),
)
# It is still polled: it may have been charged, and its image may still arrive.
_ABANDON = (
    ATTEMPTS.update_to(AttemptState.ABANDONED)
    .where(attempts.c.generation_id.in_(IDS))
    .values(settled_at=NOW, poll_at=NOW, polls=0)
)


class Attempts:
    """Attempts whose generations `changes` has locked, so that nobody else can move them."""

    def __init__(self, changes: Changes, attempt_ids: Iterable[str]) -> None:
        """Lock the attempts' generations, and read those attempts that exist."""
        ids = sorted(set(attempt_ids))
        self.changes = changes
        changes.lock(row.generation_id for row in _OWNERS.each(changes.connection, ids))
        rows = _THESE.each(changes.connection, ids)
        self._found = {row.id: row._replace(state=AttemptState(row.state)) for row in rows}
        #: (provider, task_id) → attempt
        self._owners: dict[tuple[str, str], str] = {}

    def __contains__(self, attempt_id: str) -> bool:
        return attempt_id in self._found

    def __getitem__(self, attempt_id: str) -> Attempt:
        return self._found[attempt_id]

    def __iter__(self) -> Iterator[Attempt]:
        """Yield the attempts as they are now; the caller may move them during the iteration."""
        return iter([*self._found.values()])

    def move(self, attempt_id: str, to: AttemptState, **values: object) -> bool:
        """Move an attempt and set `values` with it; False if its state no longer allows that.

        Once its outcome is known, it is no longer polled unless `poll_at` sets a time.
        """
        if not ATTEMPTS.allows(self._found[attempt_id].state, to):
            return False
        if to not in LIVE_ATTEMPTS:
            values.setdefault("poll_at", None)
        self.update(attempt_id, state=to, **values)
        self._found[attempt_id] = self._found[attempt_id]._replace(state=to)
        return True

    def update(self, attempt_id: str, **values: object) -> None:
        """Set values of an attempt without changing its state."""
        attempt = self._found[attempt_id]
        self.changes.updates.set(attempts, attempt_id, {"state": attempt.state}, values)
        task_id = values.get("task_id")
        if isinstance(task_id, str) and task_id != attempt.task_id:
            if attempt.task_id is not None:
                self._owners.pop((attempt.provider, attempt.task_id), None)
            self._owners[attempt.provider, task_id] = attempt_id
            self._found[attempt_id] = attempt._replace(task_id=task_id)

    def look_up(self, named: Iterable[tuple[str, str]]) -> None:
        """Look up the owners of these pairs of attempt and task_id; required before `is_taken`."""
        task_ids: defaultdict[str, set[str]] = defaultdict(set)
        for attempt_id, task_id in named:
            task_ids[self._found[attempt_id].provider].add(task_id)
        for provider, those in task_ids.items():
            for row in _BY_TASK.each(self.changes.connection, sorted(those), provider=provider):
                self._owners[provider, row.task_id] = row.id

    def is_taken(self, attempt_id: str, task_id: str) -> bool:
        """Whether another attempt at this provider already has this task_id."""
        return self._owners.get((self._found[attempt_id].provider, task_id), attempt_id) != attempt_id


def submit_again(changes: Changes, generation_ids: Sequence[str], cause: str) -> None:
    """Abandon the old attempts for good: from now on the database allows new ones."""
    if not generation_ids:
        return
    changes.connection.execute(_ABANDON, {"ids": list(generation_ids), "now": changes.at})
    anew = ("dispatched_at", "account", "not_before", "task_id", "progress", "finished_at", "reason", "message")
    for generation_id in generation_ids:
        changes.move(generation_id, State.QUEUED, cause, **dict.fromkeys(anew))
