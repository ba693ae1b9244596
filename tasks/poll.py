"""Ask providers about generations that are silent: a lost callback is a non-event."""

import logging
from collections import defaultdict
from datetime import timedelta

from tasks.asking import ask
from tasks.ingest import apply, news_of
from worker.celery import app
from worker.errors import QueryFailed
from worker.generation import Outcome, State, Status
from worker.ledger.outcomes import News
from worker.ledger.watching import Silent
from worker.providers import Mark, Provider
from worker.services import Services, services

log = logging.getLogger(__name__)

BATCH = 200
#: a task may be invisible for a while after it was submitted; one that is unknown for so long is gone, and a success
#: that comes later all the same is kept
UNKNOWN_AFTER = timedelta(hours=1)
_UNKNOWN = "the provider has no such task, or no result of it, an hour after it took it"


@app.task(name="poll")
def poll() -> None:
    """Take those that are due and ask: submitted ones by task_id, unconfirmed ones by what marks them as ours."""
    here = services()
    by_provider: dict[str, list[Silent]] = defaultdict(list)
    for silent in here.ledger.watching.silent(BATCH, here.settings.poll_after):
        by_provider[silent.provider].append(silent)
    for name, silent_ones in by_provider.items():
        provider = here.provider(name)
        apply(here, _fetched(here, provider, [one for one in silent_ones if one.task_id is not None]))
        apply(here, _found(here, provider, [one for one in silent_ones if one.state is State.UNCONFIRMED]))


def _fetched(here: Services, provider: Provider, silent: list[Silent]) -> list[News]:
    by_task = {one.task_id: one for one in silent if one.task_id is not None}
    answers = ask(provider, list(by_task))
    outcomes = dict(answers.outcomes)
    for task_id in answers.unknown:
        if here.clock() - by_task[task_id].sent_at > UNKNOWN_AFTER:
            outcomes[task_id] = Outcome(Status.FAILED, task_id, reason="unknown_task", message=_UNKNOWN)
    return [
        news_of(here, provider, by_task[task_id].attempt_id, outcome, cause="poll")
        for task_id, outcome in outcomes.items()
        if task_id in by_task
    ]


def _found(here: Services, provider: Provider, silent: list[Silent]) -> list[News]:
    news = []
    for one in silent:
        if one.task_id is not None:
            continue
        try:
            outcome = provider.find(Mark(one.attempt_id, here.callback_url(one.provider, one.attempt_id)))
        except QueryFailed as error:
            log.warning("%s did not answer: %s", provider.name, error)
            break
        if outcome is not None:
            news.append(news_of(here, provider, one.attempt_id, outcome, cause="found in the provider's list"))
    return news
