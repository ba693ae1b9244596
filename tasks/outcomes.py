"""Records the outcomes of attempts from any source and wakes the next steps."""

import logging
from collections.abc import Sequence

from worker.downloads import deadline_of
from worker.errors import CallbackUnreadable, LedgerUnavailable, LedgerUnfit
from worker.generation import Outcome, Status, Verdict
from worker.ledger.outcome import News
from worker.providers import Provider
from worker.secrets import described
from worker.services import Services
from worker.steps import Step
from worker.wakeup import ring, ring_if_due

log = logging.getLogger(__name__)


#: more than any request produces: a party that can report on one generation must not be able to fill the ledger
MOST_LINKS = 64


def news_of(
    here: Services, provider: Provider, attempt_id: str, outcome: Outcome, *, cause: str, callback_id: int | None = None
) -> News:
    if len(outcome.links) > MOST_LINKS:
        refusal = CallbackUnreadable(f"it has {len(outcome.links)} results, more than any request produces")
        log.warning("%s: could not use task %s: %s", provider.name, outcome.task_id, refusal)
        return News(attempt_id=attempt_id, outcome=refusal, cause=cause, callback_id=callback_id)
    now = here.clock()
    lives = here.retention(provider)
    deadlines = tuple(deadline_of(link.url, seen_at=now, retention=lives) for link in outcome.links)
    return News(attempt_id=attempt_id, outcome=outcome, cause=cause, deadlines=deadlines, callback_id=callback_id)


def apply(here: Services, news: list[News]) -> None:
    """Record outcomes and wake the steps that continue with them."""
    if not news:
        return
    ended = {
        item.outcome.status
        for item, verdict in _verdicts(here, news)
        if verdict is Verdict.APPLIED and isinstance(item.outcome, Outcome)
    }
    if Status.SUCCEEDED in ended:
        ring(Step.ARCHIVE)
    if ended - {Status.IN_PROGRESS}:
        # The provider has free capacity again.
        ring_if_due(here.ledger, Step.DISPATCH)


def _verdicts(here: Services, news: Sequence[News]) -> list[tuple[News, Verdict]]:
    """Record all outcomes in one transaction; if that fails, each in its own."""
    try:
        tells_progress = here.settings.darkroom_progress_events
        verdicts = here.ledger.generations.apply_outcomes(news, tells_progress=tells_progress)
        return list(zip(news, verdicts, strict=True))
    except (LedgerUnavailable, LedgerUnfit):
        raise
    except Exception as error:
        if len(news) > 1:
            return [found for one in news for found in _verdicts(here, [one])]
        log.exception("could not record the outcome of attempt %s", news[0].attempt_id)
        if (callback_id := news[0].callback_id) is not None:
            here.ledger.callbacks.record_failures({callback_id: described(error)})
        return []
