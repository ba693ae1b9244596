"""What agents can do: each tool is a use case; its answer is the document of the other doors, and what to do next.

Agents repeat a call whose answer is late. So each generation has a key of the agent's, no tool waits for a provider,
and each answer says whether to call again.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from threading import Thread
from typing import Any

from tasks.usecases import views
from tasks.usecases.assets import link_to
from tasks.usecases.create import create
from tasks.usecases.queries import ListedGeneration, ListRequest, list_generations, show
from tasks.usecases.spend import SpendRequest, read_dimensions, spend
from worker.errors import ArchiveError, ConfigurationError, RequestInvalid
from worker.generation import OPEN, Generation, State
from worker.services import Services
from worker.steps import Step
from worker.wakeup import ring

#: what to do after a final state
_FINAL = {
    State.ARCHIVED: "it is done: `get` returns links to its files, which work for an hour",
    State.EXPIRED: "its files were lost before they were stored: a person can request its links again",
    State.FAILED: "it failed: read `message` and `failure`; only a changed request with a new client_key can succeed",
    State.CANCELLED: "it was cancelled and cost nothing",
    State.DELETED: "it was deleted by a person: do not generate it again",
}
_OF_A_PERSON = "its outcome is unknown and may have been charged: a person must decide; do not generate it again"
#: days of `spend`
MOST_DAYS = 3650
#: generations of one `list`
MOST_LISTED = 50


class Tools:
    """Methods are called in threads. Each raises DarkroomError with a sentence for the agent."""

    def __init__(self, here: Services) -> None:
        self._here = here

    def generate(self, client_key: str, asked: Mapping[str, object]) -> dict[str, Any]:
        """Create the generation of this key, or return it; wake dispatch without waiting for the broker."""
        if not client_key.strip():
            raise RequestInvalid("client_key is empty: invent a key for this request, and repeat it with each retry")
        created = create(self._here, {**asked, "key": client_key})
        if created.is_new:
            Thread(target=ring, args=(Step.DISPATCH,), daemon=True).start()
        document = views.of_submitted(created.generation, created.lineage, created.warnings)
        return {**document, "is_new": created.is_new, "waits": list(created.waits), "next": _next(created.generation)}

    def get(self, name: str) -> dict[str, Any]:
        """Return one generation, with a link to each of its files."""
        details = show(self._here, name)
        story = details.story
        listed = ListedGeneration(
            generation=story.generation,
            lineage=story.lineage,
            waits_for=details.waits_for,
            labels=story.labels,
            assets=story.assets,
            transitions=story.transitions,
        )
        links = []
        # Whoever has no bucket here still learns what became of it.
        with suppress(ConfigurationError, ArchiveError):
            links = [{"index": one.index, "url": url} for one in story.assets if (url := link_to(self._here, one))]
        return {**views.of_listed(listed), "links": links, "next": _next(story.generation)}

    def list(self, request: ListRequest) -> dict[str, Any]:
        """Return the newest that match; `more`: whether there are others."""
        limit = min(max(request.limit or MOST_LISTED, 1), MOST_LISTED)
        found = list_generations(self._here, _limited(request, limit + 1))
        documents = [views.of_listed(one) for one in found]
        return {
            "data": documents[:limit],
            "more": len(documents) > limit,
            "next": "call `get` with an id for links to its files",
        }

    def spend(self, by: str, days: int) -> dict[str, Any]:
        """Return costs of the last days, and what each budget has left."""
        if not 1 <= days <= MOST_DAYS:
            raise RequestInvalid(f"days must be from 1 to {MOST_DAYS}")
        report = spend(self._here, SpendRequest(read_dimensions(by), timedelta(days=days)))
        unknown = "no budget is set, so nothing limits spending: ask a person before you generate many"
        return {**views.of_spending(report), "next": "`caps` has what each budget has left" if report.caps else unknown}


def _limited(request: ListRequest, limit: int) -> ListRequest:
    return replace(request, limit=limit, with_results=True)


def _next(generation: Generation) -> str:
    if generation.state is State.UNCONFIRMED:
        return f"{_OF_A_PERSON}; `get` with the id {generation.id} shows what happened to it"
    if generation.state in OPEN:
        return f"running; call `get` with the id {generation.id} in a minute, do not generate again"
    return _FINAL[generation.state]
