"""Each hour: delete what is kept no longer (`DARKROOM_KEEP_DAYS`), a few rows at a time."""

import logging
import time
from collections import Counter

from tasks.pruning import bites
from worker.celery import app
from worker.runtime import shutdown
from worker.services import services
from worker.steps import Step
from worker.wakeup import ring

log = logging.getLogger(__name__)

#: seconds after which other kinds of work get their turn
SLICE = 10.0


@app.task(name=Step.PRUNE)
def prune() -> None:
    """Delete until nothing is old any more, or the slice is over; then another task goes on."""
    here = services()
    if here.settings.keep is None:
        return
    gone: Counter[str] = Counter()
    closing = time.monotonic() + SLICE
    for bite in bites(here.ledger, here.clock() - here.settings.keep):
        gone.update(bite)
        if shutdown.is_asked():
            break
        if time.monotonic() > closing:
            ring(Step.PRUNE)
            break
    if any(gone.values()):
        log.info("pruned: %s", ", ".join(f"{count} {table}" for table, count in gone.items() if count))
