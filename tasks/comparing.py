"""What the providers' lists say about a ledger that may not know everything: read, and nothing is changed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from worker.errors import ConfigurationError, QueryFailed
from worker.generation import GenerationRequest, State
from worker.ledger import Ledger
from worker.ledger.rescuing import Orphan, Place
from worker.providers import PROVIDERS, Provider
from worker.providers.listing import Listed, ListedTask
from worker.services import Services

#: tasks that are looked up at once; generations that are
PAGE, WAITING_PAGE = 100, 1000


@dataclass(frozen=True, slots=True)
class Found:
    """A task whose mark says that it is this generation, of which the ledger did not know."""

    task_id: str
    generation_id: str
    state: State


@dataclass(frozen=True, slots=True)
class Unknown:
    """A task that is not in the ledger. `is_ours`: by its mark, some Darkroom has sent it.

    `perhaps`: generations that wait to be submitted, and have its prompt.
    """

    task_id: str
    is_ours: bool
    perhaps: tuple[str, ...]


@dataclass(slots=True)
class Compared:
    """One provider. `tasks`: those in its list; `known`: of these, in the ledger; `trouble`: why it is not known."""

    provider: str
    has_list: bool
    tasks: int = 0
    known: int = 0
    found: list[Found] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    trouble: str | None = None


def compare(here: Services, since: datetime) -> Iterator[Compared]:
    """Each provider that is set up; to one that is not, nothing can be submitted."""
    for name in PROVIDERS:
        try:
            provider = here.provider(name)
        except ConfigurationError:
            continue
        compared = Compared(name, provider.listed is not Listed.NO)
        if compared.has_list:
            try:
                _compare(here.ledger, provider, since, compared)
            except QueryFailed as error:
                compared.trouble = str(error)
        yield compared


def _compare(ledger: Ledger, provider: Provider, since: datetime, compared: Compared) -> None:
    waiting = _waiting(ledger, provider.name)
    tasks = provider.recent(since)
    while page := list(islice(tasks, PAGE)):
        placed = ledger.rescuing.look(provider.name, [_orphan(task) for task in page])
        owners = [one.generation_id for one in placed if one.place is Place.MARKED and one.generation_id]
        states = {one.id: one.state for one in ledger.queries.get(owners)} if owners else {}
        compared.tasks += len(page)
        for task, one in zip(page, placed, strict=True):
            task_id = str(task.outcome.task_id)
            if one.place is Place.KNOWN:
                compared.known += 1
            elif one.place is Place.MARKED and one.generation_id:
                compared.found.append(Found(task_id, one.generation_id, states[one.generation_id]))
            else:
                perhaps = waiting.get(_words(task.prompt), ()) if task.prompt else ()
                compared.unknown.append(Unknown(task_id, task.attempt_id is not None, tuple(perhaps)))


def _orphan(task: ListedTask) -> Orphan:
    request = GenerationRequest(task.operation, task.prompt, action=task.action, parent=task.parent)
    return Orphan(str(task.outcome.task_id), request, task.created_at, task.attempt_id, bool(task.marks))


def _waiting(ledger: Ledger, provider: str) -> Mapping[str, list[str]]:
    """Words of a prompt → generations that wait with it."""
    found: dict[str, list[str]] = {}
    before = None
    while page := ledger.queries.page(state=State.QUEUED, limit=WAITING_PAGE, before=before):
        before = page[-1].id
        for one in page:
            if one.provider == provider and one.prompt:
                found.setdefault(_words(one.prompt), []).append(one.id)
    return found


def _words(prompt: str) -> str:
    """Without options, which providers write into it."""
    return " ".join(prompt.partition(" --")[0].split())
