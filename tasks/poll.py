"""Ask providers about generations that are silent: a lost callback is a non-event."""

import logging
from collections import defaultdict

from tasks.ingest import apply, news_of
from worker.celery import app
from worker.errors import QueryFailed
from worker.generation import State
from worker.ledger.outcomes import News
from worker.ledger.watching import Silent
from worker.providers import Provider
from worker.services import Services, services

log = logging.getLogger(__name__)

BATCH = 200


@app.task(name="poll")
def poll() -> None:
    """Take those that are due and ask: submitted ones by task_id, unconfirmed ones by their callback URL."""
    here = services()
    by_provider: dict[str, list[Silent]] = defaultdict(list)
    for silent in here.ledger.watching.silent(BATCH, here.settings.poll_after):
        by_provider[silent.provider].append(silent)
    for name, silent_ones in by_provider.items():
        provider = here.provider(name)
        try:
            apply(here, _fetched(here, provider, [one for one in silent_ones if one.task_id is not None]))
            apply(here, _found(here, provider, [one for one in silent_ones if one.state is State.UNCONFIRMED]))
        except QueryFailed as error:
            log.warning("%s did not answer: %s", name, error)


def _fetched(here: Services, provider: Provider, silent: list[Silent]) -> list[News]:
    news = []
    for start in range(0, len(silent), provider.fetch_limit):
        attempt_of = {one.task_id: one.attempt_id for one in silent[start : start + provider.fetch_limit]}
        outcomes = provider.fetch([task_id for task_id in attempt_of if task_id is not None])
        news += [
            news_of(here, provider, attempt_of[task_id], outcome, cause="poll")
            for task_id, outcome in outcomes.items()
            if task_id in attempt_of
        ]
    return news


def _found(here: Services, provider: Provider, silent: list[Silent]) -> list[News]:
    news = []
    for one in silent:
        callback_url = here.callback_url(one.provider, one.attempt_id)
        outcome = provider.find(callback_url) if callback_url and one.task_id is None else None
        if outcome is not None:
            news.append(news_of(here, provider, one.attempt_id, outcome, cause="found in the provider's list"))
    return news
