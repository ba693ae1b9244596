"""Claim generations, call the provider once for each, write down what it said."""

import functools
from collections.abc import Sequence
from datetime import timedelta

from tasks.ingest import apply, news_of
from worker.bells import ring_if_due
from worker.celery import app
from worker.draining import drain
from worker.errors import AccountBlocked, ConfigurationError, ProviderError, Rejected, RequestInvalid
from worker.generation import Generation, GenerationRequest, Outcome
from worker.ledger.outcomes import News
from worker.ledger.submissions import Claim, Submitted
from worker.providers import Mark
from worker.services import Services, services

#: longer than connecting and reading together may last (`worker.providers.http`), and than the task's time limit
LEASE = timedelta(seconds=95)
THREADS = 16


@app.task(name="submit")
def submit() -> None:
    """Submit what was dispatched. Each claim is committed before its POST, and its POST is never repeated."""
    here = services()
    if drain(
        lambda room: here.ledger.submissions.claim(room, LEASE),
        functools.partial(submit_one, here),
        functools.partial(_record, here),
        threads=THREADS,
    ):
        ring_if_due(here.ledger, "dispatch")


def submit_one(here: Services, claim: Claim) -> Submitted | News:
    """One POST; whatever happens becomes the attempt's result, or its outcome where the reply is one (texts)."""
    generation = claim.generation
    try:
        provider = here.provider(generation.provider)
        mark = Mark(claim.attempt_id, here.callback_url(generation.provider, claim.attempt_id))
        reply = provider.submit(request_of(generation), mark)
        if isinstance(reply, Outcome):
            return news_of(here, provider, claim.attempt_id, reply, cause="reply")
        return Submitted(claim.attempt_id, reply.task_id)
    except ProviderError as error:
        return Submitted(claim.attempt_id, error)
    except ConfigurationError as error:
        return Submitted(claim.attempt_id, AccountBlocked(str(error), code="not_configured"))
    except RequestInvalid as error:
        return Submitted(claim.attempt_id, Rejected(str(error), code="request_invalid"))


def _record(here: Services, results: Sequence[Submitted | News]) -> None:
    if submitted := [result for result in results if isinstance(result, Submitted)]:
        here.ledger.submissions.record(submitted, here.settings.poll_after)
    apply(here, [result for result in results if isinstance(result, News)])


def request_of(generation: Generation) -> GenerationRequest:
    return GenerationRequest(
        operation=generation.operation,
        prompt=generation.prompt,
        options=generation.options,
        action=generation.action,
        parent=generation.parent_handle,
    )
