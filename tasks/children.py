"""Builds the request for a follow-up from its parent."""

from worker.generation import Generation, GenerationRequest, Operation, operation_of
from worker.ledger.generations import NewGeneration
from worker.providers import Prompt, provider_class
from worker.recipes import FollowUp


def child_of(parent: Generation, item: FollowUp, dedupe: str | None) -> NewGeneration:
    """Return the request for one follow-up, in its parent's batch and with the parent's prompt."""
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
        is_test=parent.is_test,
    )


def _goes_on_by_itself(provider: str, operation: Operation) -> bool:
    """A video that is extended without a prompt continues as it is; its first image's prompt would not fit."""
    return (
        operation is Operation.VIDEO_EXTEND
        and provider_class(provider).capabilities[operation].prompt is Prompt.OPTIONAL
    )
