"""Ask providers about generations that are silent: a lost callback is a non-event."""

import logging
import random
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from datetime import timedelta

from tasks.asking import PATIENCE, ask
from tasks.ingest import apply, news_of
from worker.celery import app
from worker.errors import ConfigurationError, QueryFailed
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
    """Take those that are due and ask: by task_id, or unconfirmed ones by what marks them as ours."""
    here = services()
    by_provider: dict[str, list[Silent]] = defaultdict(list)
    for silent in here.ledger.watching.silent(BATCH, here.settings.poll_after, here.settings.horizon):
        by_provider[silent.provider].append(silent)
    # At the same time: none waits for another that is slow, or suffers from one that lost its key.
    with ThreadPoolExecutor(2 * len(by_provider) or 1, thread_name_prefix="poll") as pool:
        questions = [
            pool.submit(question, here, name, silent_ones)
            for name, silent_ones in by_provider.items()
            for question in (_fetched, _found)
        ]
        for answered in as_completed(questions):
            error = answered.exception()
            if error is None:
                apply(here, answered.result())
            else:
                # A person's mistake needs no traceback.
                log.error("cannot ask: %s", error, exc_info=None if isinstance(error, ConfigurationError) else error)


def _fetched(here: Services, name: str, silent: list[Silent]) -> list[News]:
    provider = here.provider(name)
    by_task = {one.task_id: one for one in silent if one.task_id is not None}
    answers = ask(provider, list(by_task))
    outcomes = dict(answers.outcomes)
    for task_id in answers.unknown:
        if here.clock() - by_task[task_id].sent_at > UNKNOWN_AFTER:
            outcomes[task_id] = Outcome(Status.FAILED, task_id, reason="unknown_task", message=_UNKNOWN)
    return [
        _news(here, provider, by_task[task_id], outcome) for task_id, outcome in outcomes.items() if task_id in by_task
    ]


def _news(here: Services, provider: Provider, one: Silent, outcome: Outcome) -> News:
    news = news_of(here, provider, one.attempt_id, outcome, cause="poll")
    # It has ended about now if it is polled from the start; if a callback was lost, perhaps long ago.
    is_polled = here.settings.public_url is None and one.state is State.SUBMITTED
    return replace(news, ended_at=here.clock()) if is_polled else news


def _found(here: Services, name: str, silent: list[Silent]) -> list[News]:
    provider, news = here.provider(name), []
    lost = [one for one in silent if one.task_id is None]
    # They come due together: in another order each time, or the last would never have their turn.
    random.shuffle(lost)
    give_up_at = time.monotonic() + PATIENCE
    for number, one in enumerate(lost):
        if time.monotonic() > give_up_at:
            here.ledger.watching.unanswered(lost[number:])
            break
        try:
            outcome = provider.find(Mark(one.attempt_id, here.callback_url(one.provider, one.attempt_id)))
        except QueryFailed as error:
            log.warning("%s did not answer: %s", provider.name, error)
            here.ledger.watching.unanswered(lost[number:])
            break
        if outcome is not None:
            news.append(news_of(here, provider, one.attempt_id, outcome, cause="found in the provider's list"))
    return news
