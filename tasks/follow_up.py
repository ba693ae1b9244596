"""Create follow-ups, according to a recipe or its short form."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from tasks.deciding import end_overdue
from tasks.picking import ask_tasks
from tasks.recipe_steps import plan_short_form, plan_steps
from worker import telemetry
from worker.celery import app
from worker.errors import LedgerUnavailable, LedgerUnfit
from worker.generation import Generation
from worker.recipes import After
from worker.runtime import shutdown
from worker.secrets import described
from worker.services import Services, services
from worker.steps import Step
from worker.wakeup import ring

log = logging.getLogger(__name__)

BATCH = 50

D = TypeVar("D")


@app.task(name=Step.FOLLOW_UP)
def follow_up() -> None:
    """Create follow-ups exactly once, however often this runs."""
    here = services()
    generations = here.ledger.generations
    created = _drain(lambda: generations.due_follow_ups(BATCH), lambda parent: _create(here, parent))
    created += _drain(lambda: generations.due_steps(BATCH), lambda due: _create(here, due.generation, due.moment))
    created += end_overdue(here)
    ask_tasks(here)
    if created:
        ring(Step.DISPATCH, Step.ARCHIVE)


def _drain(next_ones: Callable[[], Sequence[D]], create: Callable[[D], int]) -> int:
    created = 0
    while not shutdown.is_asked() and (due := next_ones()):
        began = time.monotonic()
        made = sum(map(create, due))
        created += made
        telemetry.step(Step.FOLLOW_UP, len(due), began, created=made)
    return created


def _create(here: Services, parent: Generation, moment: After | None = None) -> int:
    """Return how many were created; a parent that fails does not affect the others.

    `moment`: which of the recipe's steps are due; None for the short form.
    """
    try:
        return _follow_short_form(here, parent) if moment is None else _follow_recipe(here, parent, moment)
    except (LedgerUnavailable, LedgerUnfit):
        raise
    except Exception as error:
        log.exception("could not create the follow-ups of %s", parent.id)
        here.ledger.generations.record_follow_up_failure(parent, described(error))
        return 0


def _follow_recipe(here: Services, parent: Generation, moment: After) -> int:
    recipe = here.ledger.generations.recipe(str(parent.recipe))
    planned = plan_steps(here, parent, recipe, moment)
    most = min(recipe.max_fan_out, here.settings.darkroom_max_follow_ups)
    return here.ledger.generations.create_follow_ups(
        parent, planned.children, planned.refused, planned.approvals, moment=moment, most=most
    )


def _follow_short_form(here: Services, parent: Generation) -> int:
    planned = plan_short_form(here, parent)
    most = here.settings.darkroom_max_follow_ups
    return here.ledger.generations.create_follow_ups(parent, planned.children, planned.refused, most=most)
