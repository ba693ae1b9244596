"""Create the generations that should follow a success."""

import logging

from worker import stopping
from worker.bells import ring
from worker.celery import app
from worker.errors import LedgerUnavailable, LedgerUnfit
from worker.generation import Generation, GenerationRequest, Operation, operation_of
from worker.ledger.generations import NewGeneration
from worker.providers import provider_class
from worker.providers.capability import Prompt
from worker.recipe import FollowUp, expand
from worker.redaction import described
from worker.services import Services, services

log = logging.getLogger(__name__)

BATCH = 50


@app.task(name="follow_up")
def follow_up() -> None:
    """Create what archived generations ask for: exactly once, however often this runs."""
    here = services()
    created = 0
    while not stopping.is_asked() and (parents := here.ledger.generations.due_follow_ups(BATCH)):
        created += sum(_create(here, parent) for parent in parents)
    if created:
        ring("dispatch")


def _create(here: Services, parent: Generation) -> int:
    """How many; none of a parent that cannot be followed up now, which holds up no other."""
    try:
        return _create_all(here, parent)
    except (LedgerUnavailable, LedgerUnfit):
        raise
    except Exception as error:
        log.exception("the follow-ups of %s cannot be created", parent.id)
        here.ledger.generations.record_follow_up_failure(parent, described(error))
        return 0


def _create_all(here: Services, parent: Generation) -> int:
    settings = here.settings
    if parent.depth >= settings.darkroom_max_depth:
        return here.ledger.generations.create_follow_ups(
            parent, [], [f"depth {parent.depth} is as deep as follow-ups may go"]
        )
    wanted, refused = expand(parent.follow_up, parent.actions, limit=settings.darkroom_max_follow_ups)
    children = [child_of(parent, item, dedupe=f"{parent.id}/{item.action}") for item in wanted]
    return here.ledger.generations.create_follow_ups(parent, children, refused)


def child_of(parent: Generation, item: FollowUp, dedupe: str | None) -> NewGeneration:
    """The request for one follow-up; it stays in its parent's batch and keeps the parent's prompt."""
    operation = operation_of(item.action) or Operation.VARIATION
    return NewGeneration(
        provider=parent.provider,
        request=GenerationRequest(
            operation=operation,
            prompt="" if _goes_on_by_itself(parent.provider, operation) else parent.prompt,
            action=item.action,
            parent=parent.handle,
        ),
        dedupe=dedupe,
        priority=parent.priority,
        follow_up=item.then,
        parent_id=parent.id,
        depth=parent.depth + 1,
        batch_id=parent.batch_id,
    )


def _goes_on_by_itself(provider: str, operation: Operation) -> bool:
    """A video that is extended without a prompt goes on as it was; the prompt that made its first picture would not."""
    return (
        operation is Operation.VIDEO_EXTEND
        and provider_class(provider).capabilities[operation].prompt is Prompt.OPTIONAL
    )
