"""Read stored callbacks, decide what they mean, write it down."""

import logging
from datetime import timedelta

from worker.bells import ring, ring_if_due
from worker.celery import app
from worker.deadline import deadline_of
from worker.errors import CallbackUnreadable, QueryFailed
from worker.generation import Outcome, Status
from worker.ledger.inbox import StoredCallback
from worker.ledger.outcomes import News
from worker.providers import PROVIDERS, Provider
from worker.services import Services, services

log = logging.getLogger(__name__)

BATCH = 100
LEASE = timedelta(seconds=95)
#: how long a callback waits whose provider cannot be asked to confirm it
UNCONFIRMABLE = timedelta(seconds=30)


@app.task(name="ingest")
def ingest() -> None:
    """Apply callbacks, oldest first, until none is due."""
    here = services()
    while callbacks := here.ledger.inbox.claim(BATCH, LEASE):
        news = {callback.id: read(here, callback) for callback in callbacks}
        here.ledger.inbox.postpone([callback_id for callback_id, item in news.items() if item is None], UNCONFIRMABLE)
        apply(here, [item for item in news.values() if item is not None])


def read(here: Services, callback: StoredCallback) -> News | None:
    """What a callback says; None when that must be confirmed by the provider and cannot be now."""
    if callback.provider not in PROVIDERS:
        unknown = CallbackUnreadable(f"there is no provider {callback.provider}")
        return News(callback.attempt_id, unknown, "callback", callback_id=callback.id)
    provider = here.provider(callback.provider)
    try:
        outcome = provider.parse_callback(callback.headers, callback.body)
        if outcome.status is Status.SUCCEEDED and _needs_confirmation(here, provider):
            outcome = _confirmed(provider, outcome)
    except CallbackUnreadable as error:
        return News(callback.attempt_id, error, "callback", callback_id=callback.id)
    except QueryFailed as error:
        log.warning("callback %s cannot be confirmed now: %s", callback.id, error)
        return None
    return news_of(here, provider, callback.attempt_id, outcome, cause="callback", callback_id=callback.id)


def news_of(
    here: Services, provider: Provider, attempt_id: str, outcome: Outcome, *, cause: str, callback_id: int | None = None
) -> News:
    now = here.clock()
    deadlines = tuple(deadline_of(link.url, seen_at=now, retention=provider.retention) for link in outcome.links)
    return News(attempt_id, outcome, cause, deadlines, callback_id)


def apply(here: Services, news: list[News]) -> None:
    """Write outcomes down and wake those who go on with them."""
    if not news:
        return
    verdicts = here.ledger.outcomes.apply(news)
    ended = {
        item.outcome.status
        for item, verdict in zip(news, verdicts, strict=True)
        if verdict == "applied" and isinstance(item.outcome, Outcome)
    }
    if Status.SUCCEEDED in ended:
        ring("archive")
    if ended - {Status.IN_PROGRESS}:
        # Room at the provider is free again.
        ring_if_due(here.ledger, "dispatch")


def _needs_confirmation(here: Services, provider: Provider) -> bool:
    confirm = here.settings.darkroom_confirm
    return confirm == "always" or (confirm == "unsigned" and not provider.signs_callbacks)


def _confirmed(provider: Provider, claimed: Outcome) -> Outcome:
    """The same task as the provider itself tells it: its links are believed, not those of the callback."""
    if claimed.task_id is None:
        raise CallbackUnreadable("it names no task_id, so it cannot be confirmed")
    return provider.fetch([claimed.task_id]).get(claimed.task_id) or Outcome(Status.IN_PROGRESS, claimed.task_id)
