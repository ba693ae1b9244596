"""What the providers' lists say about a ledger that may not know everything: read, and nothing is changed."""

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

#: tasks that are looked up at once
PAGE = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A task whose mark says that it is this generation, of which the ledger did not know."""

    task_id: str
    generation_id: str
    state: State


@dataclass(frozen=True, slots=True)
class Unknown:
    """A task that is not in the ledger. `is_ours`: by its mark, some Darkroom has sent it.

    `perhaps`: generations that wait to be submitted and wish for the same; of ours, the one that it is taken to be.
    """

    task_id: str
    is_ours: bool
    perhaps: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Compared:
    """One account. `tasks`: those in its list; `known`: of these, in the ledger; `trouble`: why it is not known.

    `ours`: those that the ledger does not know and should, because a Darkroom has sent them; `waiting`: of these, by
    task_id, which generation it is that still waits to be submitted.
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


def compare(here: Services, since: datetime, pages: Pages) -> Iterator[Compared]:
    """Each account of each provider that is set up; to one that is not, nothing can be submitted."""
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
    waiting = _Waiting(ledger, provider.name)
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


class _Waiting:
    """Generations that wait to be submitted to one provider."""

    def __init__(self, ledger: Ledger, provider: str) -> None:
        self._by_wish: defaultdict[tuple[str, str | None, str], list[Generation]] = defaultdict(list)
        for page in pages_of(ledger, state=State.QUEUED):
            for one in page:
                if one.provider == provider:
                    self._by_wish[one.operation, one.action, _words(one.prompt)].append(one)

    def like(self, task: ListedTask) -> list[Generation]:
        """Those that wish for what this task has made, the oldest first."""
        if not task.prompt and not task.parent:
            # It does not tell what it was made of.
            return []
        alike = self._by_wish[task.operation, task.action, _words(task.prompt)][::-1]
        return [
            one
            for one in alike
            if task.parent.items() <= one.parent_handle.items()
            and (task.created_at is None or one.created_at - EARLIER <= task.created_at)
        ]

    def take(self, one: Generation) -> None:
        """It is found, and no other task is it."""
        self._by_wish[one.operation, one.action, _words(one.prompt)].remove(one)


def _words(prompt: str) -> str:
    """Without options, which providers write into it."""
    return " ".join(prompt.partition(" --")[0].split())
