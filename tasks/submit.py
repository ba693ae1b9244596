"""Claim generations, call the provider once for each, and record the reply."""

import functools
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import assert_never

from tasks.input_files import with_files
from tasks.outcomes import apply, news_of
from tasks.restore_marker import keep_watch
from worker import telemetry
from worker.celery import app
from worker.errors import (
    AccountBlocked,
    ConfigurationError,
    NotTaken,
    ProviderError,
    Rejected,
    RequestInvalid,
    Uncertain,
)
from worker.generation import Accepted, Outcome
from worker.ledger.outcome import News
from worker.ledger.submission import Claim, Submitted
from worker.providers import PROVIDERS, Mark, Provider, posts_begun
from worker.runtime import LEASE, drain, patiently, shutdown
from worker.secrets import SANDBOX_ACCOUNT, described
from worker.services import Services, services
from worker.steps import Step
from worker.wakeup import ring_if_due

log = logging.getLogger(__name__)

THREADS = 16
#: seconds that a reply may wait to be recorded together with others
LINGER = 0.05


@app.task(name=Step.SUBMIT)
def submit() -> None:
    """Submit dispatched generations. Each claim is committed before its POST, and the POST is never repeated."""
    here = services()
    keep_watch(here)
    submissions = here.ledger.submissions
    try:
        done = drain(
            lambda room: submissions.claim(room, LEASE),
            functools.partial(submit_one, here),
            functools.partial(_record, here),
            renew=lambda claims: submissions.renew([claim.attempt_id for claim in claims], LEASE),
            threads=THREADS,
            linger=LINGER,
            tell=_tell,
        )
    finally:
        # After any error, even a COMMIT without a reply: what was not sent must not need a person's decision.
        patiently(submissions.requeue_unsent)
    if done:
        # The time slice may have ended with work left, and there may be no other pending wake-up.
        ring_if_due(here.ledger, Step.SUBMIT, Step.DISPATCH)


def submit_one(here: Services, claim: Claim) -> Submitted | News:
    """Send one POST; its reply or error becomes the attempt's result, or its outcome if the reply is one (texts)."""
    before = posts_begun()
    try:
        return _submit(here, claim)
    except Exception as error:
        # An unexpected error: what counts is whether the provider may have charged for it.
        log.exception("could not submit %s", claim.generation.id)
        what = f"the request to {claim.generation.provider} failed: {described(error)}"
        if posts_begun() == before:
            return Submitted(claim.attempt_id, Rejected(f"nothing was sent: {what}", code="not_translated"))
        return Submitted(claim.attempt_id, Uncertain(f"it was sent, but {what}", code="unexpected"))


def _submit(here: Services, claim: Claim) -> Submitted | News:
    generation = claim.generation
    try:
        provider = _provider_of(here, claim)
        mark = Mark(claim.attempt_id, _callback_url(here, claim))
        _refuse_late(here, claim)
        reply = provider.submit(provider.translate(with_files(here, provider, generation.request)), mark)
        match reply:
            case Accepted():
                return Submitted(claim.attempt_id, reply)
            case Outcome():
                return news_of(here, provider, claim.attempt_id, reply, cause="reply")
            case _:
                assert_never(reply)
    except AccountBlocked as error:
        return Submitted(claim.attempt_id, _with_key_mark(here, claim, error))
    except ProviderError as error:
        return Submitted(claim.attempt_id, error)
    except ConfigurationError as error:
        blocked = AccountBlocked(str(error), code="not_configured")
        return Submitted(claim.attempt_id, _with_key_mark(here, claim, blocked))
    except RequestInvalid as error:
        return Submitted(claim.attempt_id, Rejected(str(error), code="request_invalid"))


def _provider_of(here: Services, claim: Claim) -> Provider:
    """Return the provider to call: the sandbox for tests, and only for tests, whatever the ledger says."""
    if claim.generation.is_test != (claim.account == SANDBOX_ACCOUNT):
        what = "a test" if claim.generation.is_test else "a paid generation"
        raise Rejected(f"nothing was sent: {what} was dispatched to account {claim.account}", code="wrong_account")
    return here.provider(claim.generation.provider, claim.account)


def _callback_url(here: Services, claim: Claim) -> str | None:
    """Return the callback URL; None for tests, because the sandbox may not reach PUBLIC_URL and is polled."""
    is_test = claim.generation.is_test
    return None if is_test else here.callback_url(claim.generation.provider, claim.attempt_id)


def _with_key_mark(here: Services, claim: Claim, error: AccountBlocked) -> AccountBlocked:
    name = claim.generation.provider
    if claim.generation.is_test:
        error.key_mark = here.sandbox_mark
    else:
        # A provider unknown to this version has no keys.
        error.key_mark = here.key_marks(name).get(claim.account) if name in PROVIDERS else None
    return error


def _refuse_late(here: Services, claim: Claim) -> None:
    """The last check before anything is sent."""
    if shutdown.is_asked():
        reason = "its worker is stopping"
    elif here.clock() >= claim.lease_until:
        # The process was frozen or starved; a person may have resubmitted it by now.
        reason = "its worker reached it after its lease had expired"
    elif not here.ledger.submissions.begin(claim.attempt_id):
        reason = "its claim was returned"
    else:
        return
    raise NotTaken(f"it was not sent: {reason}", code="not_sent", retry_after=timedelta(seconds=1))


def _record(here: Services, results: Sequence[Submitted | News]) -> None:
    if submitted := [result for result in results if isinstance(result, Submitted)]:
        calls_back = here.settings.public_url is not None
        here.ledger.submissions.record(submitted, here.settings.poll_after, callbacks=calls_back)
    if news := [result for result in results if isinstance(result, News)]:
        here.ledger.dispatch.record_answered({one.attempt_id: one.outcome for one in news})
        apply(here, news)


def _tell(results: Sequence[Submitted | News], began: float) -> None:
    errors = [one.result for one in results if isinstance(one, Submitted) and isinstance(one.result, ProviderError)]
    postponed = sum(isinstance(error, NotTaken) for error in errors)
    telemetry.step(
        Step.SUBMIT,
        len(results),
        began,
        ok=len(results) - len(errors),
        failed=len(errors) - postponed,
        postponed=postponed,
    )
