"""Ringing a bell: a message that says which kind of work is due, and nothing else. A lost one is harmless."""

import logging

from billiard.exceptions import SoftTimeLimitExceeded

from worker.celery import app
from worker.ledger import Ledger

log = logging.getLogger(__name__)

#: seconds after which an unheard bell is dropped: the clock has rung again by then
_EXPIRES = 30


def ring_if_due(ledger: Ledger, *kinds: str) -> None:
    """Ring for those kinds of which something is due now: a look into the ledger costs a tenth of a needless bell."""
    if due := [kind for kind in kinds if ledger.watching.is_due(kind)]:
        ring(*due)


def ring(*kinds: str) -> bool:
    """Wake workers for these kinds of work (names of tasks); False when the broker did not take it.

    Only after a ledger method has returned: a worker that wakes before the commit finds nothing.
    """
    try:
        for kind in kinds:
            app.send_task(kind, expires=_EXPIRES)
    except SoftTimeLimitExceeded:
        # It is raised wherever the task happens to be, and says nothing about the broker.
        raise
    except Exception as error:  # noqa: BLE001  the work is saved and is found without its bell, whatever went wrong
        log.warning("the broker did not take the bell for %s: %s: %s", ", ".join(kinds), type(error).__name__, error)
        return False
    return True
