"""On a clock: find work that was forgotten, submissions whose worker died, links that die soon."""

import logging
from collections.abc import Callable

from worker.bells import ring
from worker.celery import app
from worker.errors import LedgerUnavailable
from worker.restore_marker import keep_watch
from worker.services import Services, services
from worker.subscribers import named_by

log = logging.getLogger(__name__)


@app.task(name="reconcile")
def reconcile() -> None:
    """Ring for all work that is due, and tell which links die soon; two clocks may do this at once."""
    here = services()
    for part in PARTS:
        try:
            part(here)
        except LedgerUnavailable as error:
            # Perhaps only rows that somebody else holds: the other parts may find theirs.
            log.warning("%s is left for the next time: %s", part.__name__, error)
        except Exception:
            log.exception("%s failed, the other parts go on", part.__name__)


def give_up_lost_submissions(here: Services) -> None:
    here.ledger.submissions.expire()


def tell_of_risks(here: Services) -> None:
    here.ledger.archiving.note_risks(here.settings.at_risk)


def register_subscribers(here: Services) -> None:
    here.ledger.notifying.register([one.name for one in named_by(here.settings)])


def ring_for_what_is_due(here: Services) -> None:
    if due := here.ledger.watching.due():
        ring(*due)


#: `keep_watch` is last, because a bucket that hangs is waited for
PARTS: tuple[Callable[[Services], object], ...] = (
    give_up_lost_submissions,
    tell_of_risks,
    register_subscribers,
    ring_for_what_is_due,
    keep_watch,
)
