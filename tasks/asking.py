"""Questions to a provider about many tasks at once; what it does not answer now is asked again another time."""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from worker.errors import QueryFailed
from worker.generation import Outcome
from worker.providers import Provider

log = logging.getLogger(__name__)

#: some providers tell one task per question
THREADS = 8
#: seconds after which no further question begins; one that has begun lasts `worker.providers.http.READ_TIMEOUT` or so
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Answers:
    """`unknown`: the provider answered, and has no such task (yet). What stands in neither was not answered."""

    outcomes: Mapping[str, Outcome]
    unknown: frozenset[str]


def ask(provider: Provider, task_ids: Sequence[str]) -> Answers:
    """What the provider says about these tasks; no failure of its own is raised."""
    size = provider.fetch_limit
    pages = [task_ids[start : start + size] for start in range(0, len(task_ids), size)]
    give_up_at = time.monotonic() + PATIENCE
    outcomes: dict[str, Outcome] = {}
    unknown: set[str] = set()
    with ThreadPoolExecutor(min(THREADS, len(pages) or 1), thread_name_prefix="ask") as pool:
        for page, found in zip(pages, pool.map(lambda page: _page(provider, page, give_up_at), pages), strict=True):
            if found is not None:
                outcomes |= found
                unknown |= set(page) - found.keys()
    return Answers(outcomes, frozenset(unknown))


def _page(provider: Provider, task_ids: Sequence[str], give_up_at: float) -> dict[str, Outcome] | None:
    if time.monotonic() > give_up_at:
        return None
    try:
        return provider.fetch(task_ids)
    except QueryFailed as error:
        log.warning("%s did not answer: %s", provider.name, error)
        return None
