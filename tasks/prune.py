"""Every hour, delete rows past their retention (`DARKROOM_KEEP_DAYS`), a few at a time."""

import time
from collections import Counter

from tasks.pruning import bites
from worker import telemetry
from worker.celery import app
from worker.runtime import shutdown
from worker.services import services
from worker.steps import Step
from worker.wakeup import ring

#: seconds after which to let other work run
SLICE = 10.0


@app.task(name=Step.PRUNE)
def prune() -> None:
    """Delete until no row is past its retention or the time slice ends; another task then continues.

    After an upgrade, also correct counts that the older version could not keep.
    """
    here = services()
    if any(beat.is_too_old for beat in here.ledger.maintenance.heartbeats()):
        # Old workers finish what they have begun, without counting label budgets.
        here.ledger.budgets.recount_labels()
    if here.settings.keep is None:
        return
    gone: Counter[str] = Counter()
    began = time.monotonic()
    closing = began + SLICE
    archive = here.archive if here.settings.s3_bucket else None
    before = here.clock() - here.settings.keep
    for bite in bites(here.ledger, before, archive):
        gone.update(bite)
        if shutdown.is_asked():
            break
        if time.monotonic() > closing:
            ring(Step.PRUNE)
            break
    else:
        here.ledger.maintenance.note_pruned(before)
    if any(gone.values()):
        telemetry.step(Step.PRUNE, gone.total(), began, **gone)
