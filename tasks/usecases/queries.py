"""What can be asked of the ledger: a list, and everything about one generation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tasks.usecases.selection import newest_batch, pages_of
from tasks.usecases.services import LedgerServices
from tasks.waiting import Wait, wait_of, waits_of
from worker.generation import Asset, Generation, Lineage, State, Transition
from worker.ledger.generations import Story

__all__ = ["Details", "ListRequest", "ListedGeneration", "Story", "list_generations", "list_waits", "show"]

#: generations that are read at once
PAGE = 500


@dataclass(frozen=True, slots=True)
class ListRequest:
    """`with_results`: each with its assets and history."""

    state: State | None = None
    batch: str | None = None
    limit: int = 50
    with_results: bool = False


@dataclass(frozen=True, slots=True)
class ListedGeneration:
    """`waits_for`: what holds it up, before all else."""

    generation: Generation
    lineage: Lineage
    waits_for: Wait | None
    assets: Sequence[Asset] = ()
    transitions: Sequence[Transition] = ()


@dataclass(frozen=True, slots=True)
class Details:
    """`asked_again_at`: when the provider of a failed one is asked for it again, which may still deliver it."""

    story: Story
    asked_again_at: datetime | None
    waits_for: Wait | None


def list_generations(here: LedgerServices, request: ListRequest) -> Iterator[ListedGeneration]:
    """The newest first, read a page at a time. Raises NotFound for a batch that nobody has."""
    ledger = here.ledger
    if request.batch is not None:
        newest_batch(ledger, request.batch)  # which tells an unknown batch from an empty result
    waits = list_waits(here)
    for page in pages_of(ledger, state=request.state, batch=request.batch, limit=request.limit, size=PAGE):
        ids = [one.id for one in page]
        lineages = ledger.generations.lineages(ids)
        if not request.with_results:
            yield from (ListedGeneration(one, lineages[one.id], wait_of(one, waits)) for one in page)
            continue
        assets, histories = ledger.generations.assets_of(ids), ledger.generations.transitions_of(ids)
        for one in page:
            yield ListedGeneration(one, lineages[one.id], wait_of(one, waits), assets[one.id], histories[one.id])


def show(here: LedgerServices, generation_id: str) -> Details:
    """Everything about one generation; raises NotFound."""
    story = here.ledger.generations.story(generation_id)
    asked_again_at = here.ledger.generations.awaited([generation_id]).get(generation_id)
    return Details(story, asked_again_at, wait_of(story.generation, list_waits(here)))


def list_waits(here: LedgerServices) -> tuple[Wait, ...]:
    """Everything that something may wait for now, what holds up most first."""
    return waits_of(here.ledger, here.settings)
