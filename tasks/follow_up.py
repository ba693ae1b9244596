"""Create the generations that follow a success."""

import logging
import time

from tasks.children import child_of
from tasks.splitting import actions_of
from worker import telemetry
from worker.celery import app
from worker.errors import LedgerUnavailable, LedgerUnfit
from worker.generation import Generation, Operation
from worker.ledger.generations import dedupe_of_follow_up
from worker.recipes import expand
from worker.runtime import shutdown
from worker.secrets import described
from worker.services import Services, services
from worker.steps import Step
from worker.wakeup import ring

log = logging.getLogger(__name__)

BATCH = 50


@app.task(name=Step.FOLLOW_UP)
def follow_up() -> None:
    """Create the follow-ups of archived generations: exactly once, however often this runs."""
    here = services()
    created = 0
    while not shutdown.is_asked() and (parents := here.ledger.generations.due_follow_ups(BATCH)):
        began = time.monotonic()
        made = sum(_create(here, parent) for parent in parents)
        created += made
        telemetry.step(Step.FOLLOW_UP, len(parents), began, created=made)
    if created:
        ring(Step.DISPATCH, Step.ARCHIVE)


def _create(here: Services, parent: Generation) -> int:
    """Return how many were created; a parent that fails does not affect the others."""
    try:
        return _create_all(here, parent)
    except (LedgerUnavailable, LedgerUnfit):
        raise
    except Exception as error:
        log.exception("could not create the follow-ups of %s", parent.id)
        here.ledger.generations.record_follow_up_failure(parent, described(error))
        return 0


def _create_all(here: Services, parent: Generation) -> int:
    settings = here.settings
    if parent.depth >= settings.darkroom_max_depth:
        return here.ledger.generations.create_follow_ups(
            parent, [], [f"follow-ups may not be deeper than {parent.depth}"]
        )
    offered = actions_of(here, parent) if Operation.SPLIT in parent.follow_up else parent.actions
    wanted, refused = expand(parent.follow_up, offered, limit=settings.darkroom_max_follow_ups)
    children = [child_of(parent, item, dedupe=dedupe_of_follow_up(parent.id, item.action)) for item in wanted]
    return here.ledger.generations.create_follow_ups(parent, children, refused)
