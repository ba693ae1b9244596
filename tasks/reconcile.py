"""On a clock: find work that was forgotten, and submissions whose worker died."""

from worker.bells import ring
from worker.celery import app
from worker.services import services


@app.task(name="reconcile")
def reconcile() -> None:
    """Ring for all work that is due; two clocks may do this at once."""
    ledger = services().ledger
    ledger.submissions.expire()
    if due := ledger.watching.due():
        ring(*due)
