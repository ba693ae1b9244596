"""Start what may start now."""

from worker.bells import ring
from worker.celery import app
from worker.providers import PROVIDERS
from worker.restore_marker import keep_watch
from worker.services import services


@app.task(name="dispatch")
def dispatch() -> None:
    """Let waiting generations go, as many as the accounts of their providers and the budgets allow."""
    here = services()
    keep_watch(here)
    started = sum(
        here.ledger.dispatching.dispatch(name, here.limits(name), here.prices, here.accounts(name))
        for name in PROVIDERS
    )
    if started:
        ring("submit")
