"""Claim generations, call the provider once for each, write down what it said."""

import functools
from collections.abc import Sequence
from datetime import timedelta

from worker.bells import ring_if_due
from worker.celery import app
from worker.draining import drain
from worker.errors import AccountBlocked, ConfigurationError, ProviderError, Rejected, RequestInvalid
from worker.generation import Generation, GenerationRequest
from worker.ledger.submissions import Claim, Submitted
from worker.services import Services, services

#: longer than connecting and reading together may last (`worker.providers.http`), and than the task's time limit
LEASE = timedelta(seconds=95)
THREADS = 16


@app.task(name="submit")
def submit() -> None:
    """Submit what was dispatched. Each claim is committed before its POST, and its POST is never repeated."""
    here = services()

    def record(results: Sequence[Submitted]) -> None:
        here.ledger.submissions.record(results, here.settings.poll_after)

    if drain(
        lambda room: here.ledger.submissions.claim(room, LEASE),
        functools.partial(submit_one, here),
        record,
        threads=THREADS,
    ):
        ring_if_due(here.ledger, "dispatch")


def submit_one(here: Services, claim: Claim) -> Submitted:
    """One POST; whatever happens becomes the attempt's result."""
    generation = claim.generation
    try:
        provider = here.provider(generation.provider)
        request = request_of(generation)
        provider.check(request)
        callback_url = here.callback_url(generation.provider, claim.attempt_id)
        return Submitted(claim.attempt_id, provider.submit(request, callback_url).task_id)
    except ProviderError as error:
        return Submitted(claim.attempt_id, error)
    except ConfigurationError as error:
        return Submitted(claim.attempt_id, AccountBlocked(str(error), code="not_configured"))
    except RequestInvalid as error:
        return Submitted(claim.attempt_id, Rejected(str(error), code="request_invalid"))


def request_of(generation: Generation) -> GenerationRequest:
    return GenerationRequest(
        operation=generation.operation,
        prompt=generation.prompt,
        options=generation.options,
        action=generation.action,
        parent=generation.parent_handle,
    )
