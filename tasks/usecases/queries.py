"""Queries of the ledger: lists, and everything about one generation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tasks.usecases.names import batches_called, find_batch, find_generation
from tasks.usecases.selection import Selection, matching, pages_like, pages_of
from tasks.usecases.services import LedgerServices
from tasks.waiting import Wait, wait_of, waits_of
from worker.generation import Asset, Generation, Lineage, State, Transition
from worker.ledger import Ledger
from worker.ledger.approvals import Approval
from worker.ledger.generations import Batch, Story

__all__ = ["Batch", "Details", "ListRequest", "ListedGeneration", "Story", "batch_of", "count_generations",
           "get_generations", "list_batches", "list_generations", "list_lineages", "list_waits", "show"]  # fmt: skip

#: generations read at once
PAGE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRequest:
    """`key`: a pattern, as in `Selection`; `search`: words in the prompt; `limit`: None for all.

    `with_results`: each with its assets, history and labels.
    """

    state: State | None = None
    batch: str | None = None
    provider: str | None = None
    key: str | None = None
    search: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    limit: int | None = 50
    with_results: bool = False

    @property
    def is_counted(self) -> bool:
        """Whether the ledger can count them without reading them."""
        return self.provider is None and self.key is None and self.search is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedGeneration:
    """A generation in a list. `waits_for`: the main thing that holds it up."""

    generation: Generation
    lineage: Lineage
    waits_for: Wait | None
    labels: Mapping[str, str] = field(default_factory=dict)
    assets: Sequence[Asset] = ()
    transitions: Sequence[Transition] = ()


@dataclass(frozen=True, slots=True)
class Details:
    """`asked_again_at`: when the provider of a failed generation, which may still deliver it, is polled again."""

    story: Story
    asked_again_at: datetime | None
    waits_for: Wait | None
    approvals: Sequence[Approval] = ()


def list_generations(here: LedgerServices, request: ListRequest) -> Iterator[ListedGeneration]:
    """Yield generations, newest first, read a page at a time.

    Raises NotFound for an unknown batch, and RequestInvalid for an ambiguous part of an id.
    """
    ledger = here.ledger
    batch = batch_of(ledger, request)
    waits = list_waits(here)
    for page in _limited(_pages(ledger, request, batch), request.limit):
        ids = [one.id for one in page]
        lineages = ledger.generations.lineages(ids)
        assets = ledger.generations.assets_of(ids) if request.with_results else {}
        histories = ledger.generations.transitions_of(ids) if request.with_results else {}
        labels = ledger.generations.labels_of(ids) if request.with_results else {}
        for one in page:
            yield ListedGeneration(
                generation=one,
                lineage=lineages[one.id],
                waits_for=wait_of(one, waits),
                labels=labels.get(one.id, {}),
                assets=assets.get(one.id, ()),
                transitions=histories.get(one.id, ()),
            )


def count_generations(here: LedgerServices, request: ListRequest) -> int | None:
    """Return the total, whatever the limit; None if counting would require reading all of them."""
    if not request.is_counted:
        return None
    batches = [None] if request.batch is None else [one.id for one in batches_called(here.ledger, request.batch)]
    counts = [here.ledger.generations.counts(batch_id, request.labels) for batch_id in batches]
    return sum(number for of in counts for state, number in of.items() if request.state in {None, state})


def list_batches(here: LedgerServices, name: str) -> list[Batch]:
    """Return the batches with that name or partial id; raises NotFound if there is none."""
    return batches_called(here.ledger, name)


def batch_of(ledger: Ledger, request: ListRequest) -> str | None:
    """Return the id of the batch that is meant, or the name that several share."""
    if request.batch is None:
        return None
    if all(one.name == request.batch for one in batches_called(ledger, request.batch)):
        return request.batch
    return find_batch(ledger, request.batch)


def _pages(ledger: Ledger, request: ListRequest, batch: str | None) -> Iterator[list[Generation]]:
    if request.is_counted:
        yield from pages_of(
            ledger, state=request.state, batch=batch, labels=request.labels, limit=request.limit, size=PAGE
        )
        return
    wanted = Selection(provider=request.provider, key=request.key, everything=True)
    words = (request.search or "").casefold()
    for page in pages_like(ledger, request.key, state=request.state, batch=batch, labels=request.labels, size=PAGE):
        yield [one for one in matching(ledger, page, wanted) if words in one.prompt.casefold()]


def _limited(pages: Iterator[list[Generation]], limit: int | None) -> Iterator[list[Generation]]:
    left = limit
    for page in pages:
        yield page if left is None else page[:left]
        left = None if left is None else left - len(page)
        if left is not None and left <= 0:
            return


def show(here: LedgerServices, name: str) -> Details:
    """Return everything about one generation; raises as `find_generation` does."""
    generation_id = find_generation(here.ledger, name)
    story = here.ledger.generations.story(generation_id)
    asked_again_at = here.ledger.generations.awaited([generation_id]).get(generation_id)
    approvals = here.ledger.approvals.of_generation(generation_id) if story.generation.recipe else ()
    return Details(story, asked_again_at, wait_of(story.generation, list_waits(here)), approvals)


def get_generations(here: LedgerServices, ids: Sequence[str]) -> list[Generation]:
    """Return the generations in the order of `ids`; raises NotFound."""
    return here.ledger.generations.get(ids)


def list_lineages(here: LedgerServices, generations: Sequence[Generation]) -> Mapping[str, Lineage]:
    """Return the lineage of each, by its id."""
    return here.ledger.generations.lineages([one.id for one in generations])


def list_waits(here: LedgerServices) -> tuple[Wait, ...]:
    """Return everything that generations may be waiting for now, starting with what holds up most."""
    return waits_of(here.ledger, here.settings)
