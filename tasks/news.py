"""What a provider has said of an attempt, as the ledger takes it."""

import logging

from worker.downloads import deadline_of
from worker.errors import CallbackUnreadable
from worker.generation import Outcome
from worker.ledger.outcome import News
from worker.providers import Provider
from worker.services import Services

log = logging.getLogger(__name__)

#: more than any request makes: whoever may report on one generation must not fill the ledger
MOST_LINKS = 64


def news_of(
    here: Services, provider: Provider, attempt_id: str, outcome: Outcome, *, cause: str, callback_id: int | None = None
) -> News:
    if len(outcome.links) > MOST_LINKS:
        refusal = CallbackUnreadable(f"it names {len(outcome.links)} results, more than any request makes")
        log.warning("%s: task %s cannot be used: %s", provider.name, outcome.task_id, refusal)
        return News(attempt_id, refusal, cause, callback_id=callback_id)
    now = here.clock()
    lives = here.retention(provider)
    deadlines = tuple(deadline_of(link.url, seen_at=now, retention=lives) for link in outcome.links)
    return News(attempt_id, outcome, cause, deadlines, callback_id)
