"""Checks that a provider can make a generation and the follow-ups requested for it."""

from collections.abc import Sequence

from worker.errors import RequestInvalid
from worker.generation import GenerationRequest
from worker.providers import Provider, check_follow_up
from worker.recipes import steps_of


def require_expressible(provider: Provider, request: GenerationRequest, follow_ups: Sequence[str]) -> None:
    """Raise RequestInvalid unless this provider can make the request and everything that follows its success."""
    provider.translate(request)
    require_follow_ups(provider, follow_ups)


def require_follow_ups(provider: Provider, follow_ups: Sequence[str]) -> None:
    """Raise RequestInvalid unless these follow-ups, which stay with their parent's provider, are possible there."""
    for item in follow_ups:
        for operation, action in steps_of(item):
            try:
                check_follow_up(provider, operation, action)
            except RequestInvalid as error:
                raise RequestInvalid(f"follow-up {item!r}: {error}") from error
