"""Compares the providers' lists with a possibly incomplete ledger; changes nothing."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from tasks.usecases.adopting import has_result, orphan_of
from tasks.usecases.pages import Pages
from tasks.usecases.selection import pages_of
from worker.errors import ConfigurationError, QueryFailed
from worker.generation import Generation, State
from worker.ledger import Ledger
from worker.ledger.generations import EARLIER, Place
from worker.providers import PROVIDERS, Listed, ListedTask, Provider
from worker.secrets import title_of
from worker.services import Services

#: tasks looked up together
PAGE = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A task whose callback mark shows that it is a generation of this ledger, which did not know the task."""

    task_id: str
    generation_id: str
    state: State


@dataclass(frozen=True, slots=True)
class Unknown:
    """A task that is not in the ledger. `is_ours`: its callback mark shows that Darkroom sent it.

    `perhaps`: queued generations with the same request; for tasks of ours, the one that it is assumed to be.
    """

    task_id: str
    is_ours: bool
    perhaps: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Compared:
    """One account. `tasks`: the number in its list; `known`: how many the ledger has; `trouble`: why that is unknown.

    `ours`: tasks that Darkroom sent and the ledger does not have; `waiting`: for some of these, by task_id, the
    generation that is still queued here.
    """

    provider: str
    account: str
    has_list: bool
    tasks: int = 0
    known: int = 0
    found: list[Found] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    ours: list[ListedTask] = field(default_factory=list)
    waiting: dict[str, str] = field(default_factory=dict)
    trouble: str | None = None

    def is_placed(self, task: ListedTask) -> bool:
        """Return whether the task is a generation that the ledger has."""
        task_id = str(task.outcome.task_id)
        return task_id in self.waiting or any(found.task_id == task_id for found in self.found)


def compare(here: Services, since: datetime, pages: Pages) -> Iterator[Compared]:
    """Compare each account of each configured provider; nothing can be submitted to the others."""
    for name in PROVIDERS:
        for account in here.accounts(name):
            try:
                provider = here.provider(name, account)
            except ConfigurationError:
                continue
            compared = Compared(provider=name, account=account, has_list=provider.listed is not Listed.NO)
            if compared.has_list:
                try:
                    _compare(here.ledger, provider, since, compared, pages)
                except QueryFailed as error:
                    compared.trouble = str(error)
            yield compared


def _compare(ledger: Ledger, provider: Provider, since: datetime, compared: Compared, pages: Pages) -> None:
    waiting = Waiting(ledger, provider.name)
    title = title_of(provider.name, compared.account)
    for page in pages(title, provider.recent(since), PAGE):
        placed = ledger.generations.match_tasks(provider.name, [orphan_of(task) for task in page], compared.account)
        owners = [one.generation_id for one in placed if one.place is Place.MARKED and one.generation_id]
        states = {one.id: one.state for one in ledger.generations.get(owners)} if owners else {}
        compared.tasks += len(page)
        for task, one in zip(page, placed, strict=True):
            task_id = str(task.outcome.task_id)
            if one.place is Place.KNOWN:
                compared.known += 1
            elif one.place is Place.MARKED and one.generation_id:
                compared.found.append(Found(task_id, one.generation_id, states[one.generation_id]))
                compared.ours.append(task)
            else:
                alike, is_ours = waiting.like(task), task.attempt_id is not None
                if is_ours and alike:
                    waiting.take(alike[0])
                    compared.waiting[task_id] = alike[0].id
                if is_ours and (alike or has_result(task)):
                    compared.ours.append(task)
                perhaps = [other.id for other in (alike[:1] if is_ours else alike)]
                compared.unknown.append(Unknown(task_id, is_ours, tuple(perhaps)))


class Waiting:
    """Queued generations of one provider, without tests."""

    def __init__(self, ledger: Ledger, provider: str) -> None:
        self._by_action: defaultdict[tuple[str, str | None], list[Generation]] = defaultdict(list)
        self._by_request: defaultdict[tuple[str, str | None, str], list[Generation]] = defaultdict(list)
        self._requested_at: dict[str, datetime] = {}
        for page in pages_of(ledger, state=State.QUEUED):
            for one in page:
                # What the sandbox makes is in no provider's list.
                if one.provider == provider and not one.is_test:
                    self._by_action[one.operation, one.action].append(one)
                    self._by_request[one.operation, one.action, words(one.prompt)].append(one)
            # A restored ledger creates follow-ups again: what counts is when their first ancestor was requested.
            lineages = ledger.generations.lineages([one.id for one in page if one.parent_id is not None])
            self._requested_at.update((one, lineage.root_created_at) for one, lineage in lineages.items())

    def like(self, task: ListedTask) -> list[Generation]:
        """Return the generations with the same request as this task, oldest first."""
        if task.parent:
            # The task shows what it was made from, but not always its prompt.
            alike = self._by_action[task.operation, task.action]
        elif task.prompt:
            alike = self._by_request[task.operation, task.action, words(task.prompt)]
        else:
            return []
        return [
            one
            for one in alike[::-1]
            if task.parent.items() <= one.parent_handle.items()
            and (not task.prompt or words(task.prompt) == words(one.prompt))
            and (task.created_at is None or self._requested_at.get(one.id, one.created_at) - EARLIER <= task.created_at)
        ]

    def take(self, one: Generation) -> None:
        """Remove a matched generation, so that no other task matches it."""
        self._by_action[one.operation, one.action].remove(one)
        self._by_request[one.operation, one.action, words(one.prompt)].remove(one)


def words(prompt: str) -> str:
    """Return a prompt without the options that providers append."""
    return " ".join(prompt.partition(" --")[0].split())
