"""Queries a provider about many tasks at once; tasks without a reply are queried again another time."""

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from worker.errors import QueryFailed
from worker.generation import Asset, Generation, Link, Outcome, Status
from worker.providers import Provider
from worker.services import Services

log = logging.getLogger(__name__)

#: some providers return one task per query
THREADS = 8
#: seconds after which no query is started; a running one takes up to about `worker.providers.http.READ_TIMEOUT`
PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Answers:
    """`unknown`: the provider replied, and has no such task (yet). Tasks that appear in neither got no reply."""

    outcomes: Mapping[str, Outcome]
    unknown: frozenset[str]


def ask(provider: Provider, task_ids: Sequence[str]) -> Answers:
    """Return the provider's outcomes for these tasks; its failures are logged, not raised."""
    size = provider.fetch_limit
    pages = [task_ids[start : start + size] for start in range(0, len(task_ids), size)]
    give_up_at = time.monotonic() + PATIENCE
    outcomes: dict[str, Outcome] = {}
    unknown: set[str] = set()
    with ThreadPoolExecutor(min(THREADS, len(pages) or 1), thread_name_prefix="ask") as pool:
        for found, answered in pool.map(lambda page: _page(provider, page, give_up_at), pages):
            outcomes |= found
            unknown |= answered - found.keys()
    return Answers(outcomes, frozenset(unknown))


def fresh_link(here: Services, generation: Generation, asset: Asset) -> tuple[str, timedelta] | None:
    """Return another link to the same result, and its lifetime unless the link contains it. Raises QueryFailed."""
    if generation.task_id is None:
        return None
    provider = here.provider_of(generation)
    outcome = provider.fetch([generation.task_id]).get(generation.task_id)
    links = outcome.links if outcome is not None and outcome.status is Status.SUCCEEDED else ()
    url, lives = (links[asset.index].url if asset.index < len(links) else None), here.retention(provider)
    if asset.url and (url is None or url == asset.url):
        url, lives = provider.renew(Link(asset.url, asset.kind)), provider.renewed_retention
    return None if url is None or url == asset.url else (url, lives)


def hosts_of(here: Services, generation: Generation, asset: Asset) -> frozenset[str]:
    """Return the hosts that may serve this asset: its provider's, and the host of a fresh link from the provider."""
    hosts = here.result_hosts(generation)
    renewed = urlsplit(asset.url).hostname if asset.renewals else None
    return hosts | {renewed} if renewed else hosts


def _page(provider: Provider, task_ids: Sequence[str], give_up_at: float) -> tuple[dict[str, Outcome], set[str]]:
    """Return the outcomes, and the tasks about which the provider replied at all."""
    if time.monotonic() > give_up_at:
        return {}, set()
    try:
        return provider.fetch(task_ids), set(task_ids)
    except QueryFailed as error:
        log.warning("%s did not answer: %s", provider.name, error)
    except Exception:
        if len(task_ids) == 1:
            log.exception("could not parse the reply of %s about task %s", provider.name, task_ids[0])
            return {}, set()
        # One of them cannot be parsed: query each separately.
        outcomes: dict[str, Outcome] = {}
        answered: set[str] = set()
        for task_id in task_ids:
            said, about = _page(provider, [task_id], give_up_at)
            outcomes |= said
            answered |= about
        return outcomes, answered
    return {}, set()
