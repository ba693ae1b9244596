"""On a clock: find work that was forgotten, submissions whose worker died, links that die soon."""

from worker.bells import ring
from worker.celery import app
from worker.restore_marker import keep_watch
from worker.services import services
from worker.subscribers import named_by


@app.task(name="reconcile")
def reconcile() -> None:
    """Ring for all work that is due, and tell which links die soon; two clocks may do this at once."""
    here = services()
    ledger = here.ledger
    ledger.submissions.expire()
    ledger.archiving.note_risks(here.settings.at_risk)
    ledger.notifying.register([one.name for one in named_by(here.settings)])
    if due := ledger.watching.due():
        ring(*due)
    # Last, because a bucket that hangs is waited for.
    keep_watch(here)
