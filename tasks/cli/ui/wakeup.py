"""Wake the workers from a command. Separate from `tasks.cli.ui.context` because it imports Celery."""

import logging

import worker.wakeup
from tasks.cli.ui.output import note
from worker.steps import Step


def ring(*steps: Step) -> bool:
    """Wake the workers, after the results are printed; if the broker is down, nothing is lost."""
    logging.getLogger("worker.wakeup").setLevel(logging.ERROR)
    if worker.wakeup.ring(*steps):
        return True
    note("saved, but the broker did not accept the wake-up: work starts when the broker is back; see `darkroom doctor`")
    return False
