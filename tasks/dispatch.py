"""Start the generations that rate limits, capacity and budgets allow now, after moving those that cannot start."""

import logging
import time
from collections.abc import Callable

from tasks.failover import fail_over
from tasks.restore_marker import keep_watch
from worker import telemetry
from worker.celery import app
from worker.errors import LedgerUnavailable, LedgerUnfit
from worker.pricing import Prices
from worker.providers import PROVIDERS
from worker.services import SANDBOX_LIMITS, Services, services
from worker.steps import Step
from worker.wakeup import ring

log = logging.getLogger(__name__)


@app.task(name=Step.DISPATCH)
def dispatch() -> None:
    """Dispatch as many queued generations as the providers' accounts and the budgets allow."""
    here = services()
    keep_watch(here)
    prices = here.prices
    began = time.monotonic()
    here.ledger.batches.start_due()
    # First of all, so that nothing is tried in vain at a stopped provider and then cannot move elsewhere.
    _fail_over(here)
    dispatched = sum(_dispatch(here, name, prices) for name in PROVIDERS)
    if here.settings.darkroom_sandbox_url is not None:
        dispatched += _dispatch_tests(here)
    if dispatched:
        telemetry.step(Step.DISPATCH, dispatched, began)
        ring(Step.SUBMIT)


def _fail_over(here: Services) -> None:
    try:
        fail_over(here)
    except LedgerUnavailable as error:
        log.warning("could not move generations to other providers: %s", error)
    except LedgerUnfit:
        raise
    except Exception:
        log.exception("could not move generations to other providers; dispatching all the same")


def _dispatch(here: Services, name: str, prices: Prices | None) -> int:
    def run() -> int:
        marks = here.key_marks(name)
        return here.ledger.dispatch.run(name, here.limits(name), prices, marks.keys(), marks)

    return _tried(name, run)


def _dispatch_tests(here: Services) -> int:
    dispatch = here.ledger.dispatch

    def run() -> int:
        names = dispatch.providers_with_tests(tuple(PROVIDERS))
        return sum(dispatch.run_tests(name, SANDBOX_LIMITS, here.sandbox_mark) for name in names)

    return _tried("the sandbox", run)


def _tried(where: str, run: Callable[[], int]) -> int:
    try:
        return run()
    except LedgerUnavailable as error:
        # Possibly only these rows are locked.
        log.warning("could not dispatch to %s: %s", where, error)
    except LedgerUnfit:
        raise
    except Exception:
        log.exception("could not dispatch to %s; continuing with the others", where)
    return 0
