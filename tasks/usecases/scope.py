"""What is being watched: a batch, or some generations with their follow-ups."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol

from tasks.shown import shown
from tasks.usecases.names import batches_called, find_batch, find_generations, newest_batch
from tasks.usecases.row_versions import replaced_in
from tasks.usecases.selection import pages_of
from tasks.usecases.services import LedgerServices
from worker.archive import Keys
from worker.errors import ConfigurationError, NotFound, RequestInvalid
from worker.failures import Category, category_of
from worker.generation import FINAL, OPEN, Generation, Lineage, State, Transition
from worker.ledger import Ledger
from worker.ledger.approvals import WaitingApproval
from worker.providers import PROVIDERS
from worker.steps import Step

#: the order in which states are shown if there is no room for all: first what needs a person, then what changes soon
INTERESTING = (State.EXPIRED, State.FAILED, State.UNCONFIRMED, State.SUCCEEDED, State.SUBMITTED, State.SUBMITTING,
               State.QUEUED, State.ARCHIVED, State.CANCELLED, State.DELETED)  # fmt: skip


#: maximum number of decisions in the whole ledger that are searched for a label
_MOST_DECISIONS = 10_000


class Scope(Protocol):
    name: str

    def counts(self) -> Mapping[State, int]:
        """Number of generations in each state."""

    def some(self, limit: int) -> list[Generation]:
        """Return all of them, or the `limit` most interesting ones."""

    def moves(self, *, is_last: bool) -> list[tuple[Generation, Transition]]:
        """Return the latest move of each at first, then all moves since the previous call, in chronological order.

        `is_last`: nothing in the scope moves any more.
        """

    def is_done(self) -> bool:
        """Whether all are final, and no more follow-ups will be created unless a person decides so."""

    def decisions(self) -> int:
        """Return how many decisions people still have to make."""

    def lineages(self, generations: Sequence[Generation]) -> Mapping[str, Lineage]:
        """Return the lineage of each, by its id."""

    def failures(self) -> Mapping[Category, int]:
        """Return how many came to nothing, by category."""

    def spent(self) -> int:
        """Return what was paid for it, in millionths."""

    def lasted(self) -> timedelta:
        """Return the time from its beginning to its end, or until now."""


class _OfLedger(ABC):
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @abstractmethod
    def _asked(self) -> Sequence[WaitingApproval]:
        """Return what is waiting for a decision."""

    def decisions(self) -> int:
        return sum(one.task is None for one in self._asked())

    def _asks_tasks(self) -> bool:
        return any(one.task is not None for one in self._asked())

    def lineages(self, generations: Sequence[Generation]) -> Mapping[str, Lineage]:
        return self._ledger.generations.lineages([one.id for one in generations])


class _Many(_OfLedger):
    """The generations of a batch, or with given labels, read page by page."""

    batch: str | None = None
    labels: Mapping[str, str] = MappingProxyType({})

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        #: moves up to this one were reported; and for each generation, the move that was reported first
        self._last: int | None = None
        self._first: dict[str, int] = {}

    def counts(self) -> Mapping[State, int]:
        return self._ledger.generations.counts(self.batch, self.labels)

    def some(self, limit: int) -> list[Generation]:
        found: list[Generation] = []
        if sum(self.counts().values()) <= limit:
            return self._page(limit)
        for state in INTERESTING:
            if len(found) < limit:
                found += self._page(limit - len(found), state)
        return found

    def all(self) -> list[Generation]:
        return [one for page in pages_of(self._ledger, batch=self.batch, labels=self.labels) for one in page]

    def failures(self) -> Mapping[Category, int]:
        return self._ledger.generations.failures(batch_id=self.batch, labels=self.labels)

    def spent(self) -> int:
        return self._ledger.generations.spent(batch_id=self.batch, labels=self.labels)

    def moves(self, *, is_last: bool) -> list[tuple[Generation, Transition]]:
        queries = self._ledger.generations
        # Later moves are reported the next time. By the last call, nobody writes moves any more.
        last = queries.last_move(is_settled=not is_last)
        if self._last is None:
            told = self._where_each_stands()
            self._last = queries.last_move(is_settled=False) if last is None else last
        elif last is None:
            return []
        else:
            news = queries.moves(self.batch, self._last, last, self.labels)
            told = [(one, move.transition) for move, one in news if move.number > self._first.get(one.id, 0)]
            self._last = last
        return told

    def _where_each_stands(self) -> list[tuple[Generation, Transition]]:
        found = self.all()
        moves = self._ledger.generations.last_moves([one.id for one in found])
        self._first = {generation_id: move.number for generation_id, move in moves.items()}
        return sorted(((one, moves[one.id].transition) for one in found), key=lambda pair: pair[1].at)

    def is_done(self) -> bool:
        counts = self.counts()
        if counts.keys() & OPEN or Step.FOLLOW_UP in self._ledger.maintenance.due() or self._asks_tasks():
            return False
        # A third query shows follow-ups created between the first two.
        return self.counts() == counts

    def _page(self, limit: int, state: State | None = None) -> list[Generation]:
        return self._ledger.generations.page(state=state, batch=self.batch, labels=self.labels, limit=limit)


class BatchScope(_Many):
    """A batch; a name means the newest batch of that name. Raises NotFound for an unknown one."""

    def __init__(self, ledger: Ledger, batch: str) -> None:
        super().__init__(ledger)
        found = newest_batch(ledger, batch)
        #: how many batches have this name, if the batch was given by name
        self.namesakes = len(batches_called(ledger, batch)) if found.name == batch else 1
        self.id, self.name, self._began = found.id, found.name, found.created_at
        self.batch = found.id

    def has_failed(self) -> bool:
        """Return whether anything failed or expired, except for rows that have a newer version."""
        queries, states = self._ledger.generations, (State.FAILED, State.EXPIRED)
        failed = [
            one.id for state in states for page in pages_of(self._ledger, batch=self.id, state=state) for one in page
        ]
        roots = {lineage.root_id for lineage in queries.lineages(failed).values()}
        return bool(roots - replaced_in(self._ledger, queries.get(sorted(roots))))

    def _asked(self) -> Sequence[WaitingApproval]:
        return self._ledger.approvals.waiting_in_batch(self.id)

    def lasted(self) -> timedelta:
        end = newest_batch(self._ledger, self.id).completed_at or self._ledger.database.clock()
        return end - self._began


class DecidedScope(BatchScope):
    """A batch that is done only once a decision about it is made, and what follows from the decision is done, too."""

    def __init__(self, here: LedgerServices, batch: str, is_decided: Callable[[], bool]) -> None:
        super().__init__(here.ledger, batch)
        self._is_decided = is_decided

    def is_done(self) -> bool:
        return self._is_decided() and super().is_done()


class LabelScope(_Many):
    """All generations with these labels. Raises NotFound if there is none."""

    def __init__(self, ledger: Ledger, labels: Mapping[str, str]) -> None:
        super().__init__(ledger)
        self.labels = labels
        self.name = " ".join(f"{name}={value}" for name, value in labels.items())
        if not ledger.generations.page(labels=labels, limit=1):
            raise NotFound(f"there is no generation with {self.name}; `darkroom list` shows the newest ones")
        self._began = ledger.database.clock()

    def _asked(self) -> Sequence[WaitingApproval]:
        waiting = self._ledger.approvals.waiting(_MOST_DECISIONS)
        labels = self._ledger.generations.labels_of([one.generation_id for one in waiting])
        return [one for one in waiting if self.labels.items() <= labels.get(one.generation_id, {}).items()]

    def lasted(self) -> timedelta:
        """Return the time since watching began: a label has no beginning and no end."""
        return self._ledger.database.clock() - self._began


class FamilyScope(_OfLedger):
    """Generations by id, and their follow-ups."""

    def __init__(self, ledger: Ledger, generation_ids: Sequence[str]) -> None:
        super().__init__(ledger)
        self._known = {one.id: one for one in ledger.generations.get(list(dict.fromkeys(generation_ids)))}
        self.name = next(iter(self._known)) if len(self._known) == 1 else f"{len(self._known)} generations"
        #: generations whose follow-ups are known, or will never be created
        self._followed: set[str] = set()
        #: for each, when it last changed, and how many of its moves were reported
        self._seen: dict[str, tuple[datetime, int]] = {}

    def counts(self) -> Mapping[State, int]:
        return Counter(one.state for one in self.all())

    def some(self, limit: int) -> list[Generation]:
        return sorted(self.all(), key=lambda one: INTERESTING.index(one.state))[:limit]

    def all(self) -> list[Generation]:
        changing = [one.id for one in self._known.values() if one.state not in FINAL]
        self._known.update((one.id, one) for one in self._ledger.generations.get(changing))
        for one in list(self._known.values()):
            if one.state is State.ARCHIVED and one.id not in self._followed:
                self._look_for_children(one)
        # A recipe creates follow-ups at several points, including when somebody decides.
        while more := self._ledger.generations.children([one.id for one in self._known.values() if one.recipe]):
            new = [child for child in more if child not in self._known]
            self._known.update((one.id, one) for one in self._ledger.generations.get(new))
            if not new:
                break
        return list(self._known.values())

    def _asked(self) -> Sequence[WaitingApproval]:
        return self._ledger.approvals.waiting_of(list(self._known))

    def failures(self) -> Mapping[Category, int]:
        found = (category_of(one.state, one.reason, one.message) for one in self._known.values())
        return Counter(category for category in found if category is not None)

    def spent(self) -> int:
        return self._ledger.generations.spent(generation_ids=list(self._known))

    def lasted(self) -> timedelta:
        known = self._known.values()
        is_over = all(one.state in FINAL for one in known)
        end = max(one.updated_at for one in known) if is_over else self._ledger.database.clock()
        return end - min(one.created_at for one in known)

    def moves(self, *, is_last: bool) -> list[tuple[Generation, Transition]]:  # noqa: ARG002  these few are always read
        changed = [one for one in self.all() if self._seen.get(one.id, (None, 0))[0] != one.updated_at]
        histories = self._ledger.generations.transitions_of([one.id for one in changed])
        told = []
        for one in changed:
            history = histories[one.id]
            known = self._seen[one.id][1] if one.id in self._seen else len(history) - 1
            told += [(one, move) for move in history[known:]]
            self._seen[one.id] = (one.updated_at, len(history))
        return sorted(told, key=lambda pair: pair[1].at)

    def is_done(self) -> bool:
        if any(one.recipe for one in self._known.values()) and (
            Step.FOLLOW_UP in self._ledger.maintenance.due() or self._asks_tasks()
        ):
            return False
        return all(
            one.state in FINAL and (one.state is not State.ARCHIVED or one.id in self._followed) for one in self.all()
        )

    def _look_for_children(self, parent: Generation) -> None:
        story = self._ledger.generations.story(parent.id) if parent.follow_up else None
        if story is None:
            self._followed.add(parent.id)
        elif story.children or story.pruned_before or any(one.type == "follow_up.refused" for one in story.events):
            self._followed.add(parent.id)
            self._known.update(
                (one.id, one) for one in self._ledger.generations.get([child.id for child in story.children])
            )


def watched(here: LedgerServices, names: Sequence[str], labels: Mapping[str, str] = MappingProxyType({})) -> Scope:
    """Return the batch or generations with these names or labels; without any, the newest batch.

    A single name means the batch of that name, if there is one. Raises NotFound; RequestInvalid for an ambiguous name.
    """
    if names and labels:
        raise RequestInvalid("give either the name of a BATCH or GENERATIONs, or --label")
    if labels:
        return LabelScope(here.ledger, labels)
    if not names:
        return _newest_scope(here.ledger)
    name = names[0] if len(names) == 1 else None
    if name is not None and here.ledger.generations.newest_batch(name) is not None:
        return BatchScope(here.ledger, name)
    try:
        return FamilyScope(here.ledger, find_generations(here.ledger, names))
    except NotFound as error:
        if name is None:
            raise
        if here.ledger.generations.batches_called(name, 1):
            return BatchScope(here.ledger, name)
        raise NotFound(f"there is no batch or generation {shown(name)!r}; `darkroom list` shows both") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How something that was watched ended. `spent`: an amount with its currency; `manifest`: its address.

    `failures`: how many came to nothing, by category.
    """

    counts: Mapping[State, int]
    spent: str | None
    lasted: timedelta
    manifest: str | None
    failures: Mapping[Category, int] = field(default_factory=dict)


def summarize(here: LedgerServices, scope: Scope) -> Summary:
    """Summarize what has happened so far."""
    settings = here.settings
    try:
        prices = settings.read_prices(PROVIDERS)
    except ConfigurationError:
        # The workers and the doctor report this.
        prices = None
    spent = None if prices is None else prices.text(scope.spent())
    manifest = None
    if isinstance(scope, BatchScope) and settings.s3_bucket and not scope.decisions():
        key = Keys(settings.s3_prefix, settings.s3_key_template).manifest(scope.id, scope.name)
        manifest = f"s3://{settings.s3_bucket}/{key}"
    return Summary(
        counts=scope.counts(), spent=spent, lasted=scope.lasted(), manifest=manifest, failures=scope.failures()
    )


def batch_scope(here: LedgerServices, batch: str) -> BatchScope:
    """Return the batch of this name or id. Raises NotFound; RequestInvalid if it is ambiguous."""
    return BatchScope(here.ledger, find_batch(here.ledger, batch))


def submitted(here: LedgerServices, generations: Sequence[Generation], batch_id: str | None) -> Scope:
    """Return what was submitted together: the batch if all of them are in it, else these generations."""
    if batch_id is not None and all(one.batch_id == batch_id for one in generations):
        return BatchScope(here.ledger, batch_id)
    return FamilyScope(here.ledger, [one.id for one in generations])


def _newest_scope(ledger: Ledger) -> Scope:
    """Return the newest batch, or the newest generation if it is in none. Raises NotFound in an empty ledger."""
    newest = ledger.generations.page(limit=1)
    if not newest:
        raise NotFound("the ledger has no generations yet; start with `darkroom submit`")
    return BatchScope(ledger, newest[0].batch_id) if newest[0].batch_id else FamilyScope(ledger, [newest[0].id])
