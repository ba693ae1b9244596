"""What can be made from a generation: each follow-up on offer, with its price or why it is impossible."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tasks.children import child_of, inherited_prompt
from tasks.recipe_steps import cost_of
from tasks.splitting import actions_of
from tasks.usecases.follow_up import OF_AN_IMAGE, UNLISTED
from worker.errors import ConfigurationError
from worker.generation import Asset, AssetKind, AssetState, Generation, Operation, State, operation_of
from worker.ledger.generations import NewGeneration, Story
from worker.pricing import Prices
from worker.providers import Prompt, provider_class
from worker.services import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One follow-up. `operation`: None for an action that only its provider knows.

    `cost`: text with its currency, None if no price is known; `is_free`: it costs nothing. `why_not`: why it is not
    possible. `needs`: options, or the prompt, that must be entered first. `made`: how often it was already made.
    """

    action: str
    operation: Operation | None
    cost: str | None
    is_free: bool = False
    why_not: str | None = None
    needs: tuple[str, ...] = ()
    made: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """`missing`: follow-ups that the provider supports but does not offer for this generation."""

    offers: tuple[Offer, ...]
    missing: tuple[Operation, ...]


def offers_of(here: Services, story: Story) -> Offers:
    """Return what can follow this generation, in the order of the operations."""
    generation, prices = story.generation, known_prices(here)
    provider = provider_class(generation.provider)
    why_not = _why_not(here, generation)
    made = Counter(child.action for child in story.children)
    found = []
    for action, operation in _possible(generation, story.assets):
        offer = _offer(generation, action, operation, prices)
        found.append(replace(offer, why_not=why_not or offer.why_not, made=made[action]))
    order = [*Operation, None]
    offered = {one.operation for one in found}
    return Offers(
        offers=tuple(sorted(found, key=lambda one: order.index(one.operation))),
        missing=tuple(
            one for one, capability in provider.capabilities.items() if capability.actions and one not in offered
        ),
    )


def _possible(generation: Generation, assets: Sequence[Asset]) -> Iterator[tuple[str, Operation | None]]:
    capabilities = provider_class(generation.provider).capabilities
    actions = actions_of(generation, assets)
    yield from ((action, operation_of(action)) for action in actions)
    if not any(one.kind is AssetKind.IMAGE and one.state is AssetState.STORED for one in assets):
        return
    if actions and UNLISTED not in actions and Operation.REGION in capabilities:
        yield UNLISTED, Operation.REGION
    yield from ((operation.value, operation) for operation in OF_AN_IMAGE if operation in capabilities)


def _offer(generation: Generation, action: str, operation: Operation | None, prices: Prices | None) -> Offer:
    if operation is Operation.SPLIT:
        return Offer(action=action, operation=operation, cost=None, is_free=True)
    provider = provider_class(generation.provider)
    capability = provider.capabilities.get(operation) if operation is not None else None
    is_on_image = operation in OF_AN_IMAGE
    if capability is None or operation is None or not (is_on_image or action in capability.actions):
        told = f"{provider.title} offers it, and Darkroom does not support it"
        return Offer(action=action, operation=operation, cost=None, why_not=told)
    needs = sorted(capability.needs - ({"images"} if is_on_image else set()))
    # Operations on an image have their own wording.
    if is_on_image and capability.prompt is not Prompt.UNUSED:
        needs.append("prompt")
    child = child_of(generation, action, (), dedupe=None)
    request = replace(child.request, operation=operation, prompt=inherited_prompt(generation, operation))
    cost, is_free = _cost(prices, replace(child, request=request))
    return Offer(action=action, operation=operation, cost=cost, is_free=is_free, needs=tuple(needs))


def _cost(prices: Prices | None, child: NewGeneration) -> tuple[str | None, bool]:
    if child.is_test:
        return None, True
    if prices is None or not (amount := cost_of(prices, child)):
        return None, False
    return prices.text(amount), False


def _why_not(here: Services, generation: Generation) -> str | None:
    """Return why nothing can follow it now."""
    if generation.state is not State.ARCHIVED:
        return f"It is {generation.state}: a follow-up starts from an archived image"
    try:
        here.provider_for(generation.provider, is_test=generation.is_test)
    except ConfigurationError as error:
        return str(error)
    return None


def known_prices(here: Services) -> Prices | None:
    """Return the price file's prices; None without one, or if it is invalid."""
    try:
        return here.prices
    except ConfigurationError:
        # The workers and the doctor report this.
        return None
