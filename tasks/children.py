"""Builds the request for a follow-up from its parent."""

from worker.generation import Generation, GenerationRequest, Operation, operation_of
from worker.ledger.generations import NewGeneration
from worker.providers import Prompt, provider_class
from worker.recipes import Recipe


def child_of(parent: Generation, action: str, follow_up: tuple[str, ...], dedupe: str | None) -> NewGeneration:
    """Return the follow-up by this action of the parent, with the parent's prompt."""
    operation = operation_of(action) or Operation.VARIATION
    request = GenerationRequest(
        operation=operation,
        prompt=inherited_prompt(parent, operation),
        action=action,
        parent={} if operation is Operation.SPLIT else parent.handle,
    )
    return follow_up_of(parent, request, dedupe=dedupe, follow_up=follow_up)


def follow_up_of(
    parent: Generation,
    request: GenerationRequest,
    *,
    dedupe: str | None,
    follow_up: tuple[str, ...] = (),
    recipe: Recipe | None = None,
    step: str | None = None,
) -> NewGeneration:
    """Return a generation that follows its parent, in the parent's batch. `step`: the recipe step that makes it."""
    return NewGeneration(
        provider=parent.provider,
        request=request,
        dedupe=dedupe,
        priority=parent.priority,
        follow_up=follow_up,
        parent_id=parent.id,
        depth=parent.depth + 1,
        batch_id=parent.batch_id,
        recipe=recipe,
        step=step,
        is_test=parent.is_test,
    )


def inherited_prompt(parent: Generation, operation: Operation) -> str:
    """Return the prompt of a follow-up that has none of its own.

    A video extended without a prompt simply continues; the prompt of its first image would not fit.
    """
    if operation is Operation.SPLIT:
        return parent.prompt
    capability = provider_class(parent.provider).capabilities.get(operation)
    if capability is None or capability.prompt is Prompt.REQUIRED:
        return parent.prompt
    is_continued = operation is Operation.VIDEO_EXTEND
    return "" if capability.prompt is Prompt.UNUSED or is_continued else parent.prompt
