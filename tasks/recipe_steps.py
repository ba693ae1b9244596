"""Decides what the steps of a recipe create for one generation; the ledger records it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from tasks.children import follow_up_of, inherited_prompt
from tasks.splitting import actions_of, is_grid
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import Asset, AssetKind, Generation, GenerationRequest, Operation, operation_of
from worker.ledger.generations import NewApproval, NewGeneration, dedupe_of_follow_up, dedupe_of_step
from worker.pricing import Prices, as_text, millionths, tier_of
from worker.providers import Provider, input_reference
from worker.recipes import After, Chooser, Facts, Recipe, Step, as_recipe
from worker.services import Services

_INDEXED = re.compile(r".*[a-z]([1-4])")
#: content types of images that providers accept → extension
_TAKEN = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
#: bytes; Ace Data Cloud and Kie.ai accept no larger images
_LARGEST = 10 * 1024 * 1024


@dataclass(slots=True)
class Planned:
    """Planned follow-ups. `refused`: why others are missing."""

    children: list[NewGeneration] = field(default_factory=list)
    approvals: list[NewApproval] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


#: makes a step's follow-up from the number of its image (None: the only one) and the request for it
Child = Callable[[Step, int | None, GenerationRequest], NewGeneration]


def plan_steps(here: Services, parent: Generation, recipe: Recipe, moment: After) -> Planned:
    """Return what is created by the steps that follow this moment of a generation."""
    return _planned(here, parent, recipe, moment, _of_recipe(parent, recipe), assets=_assets(here, parent))


def plan_short_form(here: Services, parent: Generation) -> Planned:
    """Return what follows an archived generation that uses the short form of a recipe."""
    if (deepest := parent.depth) >= here.settings.darkroom_max_depth:
        return Planned(refused=[f"follow-ups may not be deeper than {deepest}"])
    assets = _assets(here, parent)
    offered = actions_of(parent, assets)
    recipe, missing = as_recipe(parent.follow_up, offered, max_fan_out=here.settings.darkroom_max_follow_ups)
    planned = _planned(here, parent, recipe, After.ARCHIVED, partial(_of_short_form, parent), assets=assets)
    by_action: dict[str | None, NewGeneration] = {}
    for child in planned.children:
        known = by_action.setdefault(child.request.action, child)
        if known is not child:
            by_action[child.request.action] = replace(known, follow_up=(*known.follow_up, *child.follow_up))
    return replace(planned, children=list(by_action.values()), refused=[*missing, *planned.refused])


def plan_picked(here: Services, parent: Generation, recipe: Recipe, step: Step, picked: Sequence[int]) -> Planned:
    """Return what a step creates from the picked images.

    Raises RequestInvalid for images that do not exist or cannot be used; ConfigurationError.
    """
    planned = Planned()
    found = _candidates(here, parent, step, _assets(here, parent), _of_recipe(parent, recipe))
    if unknown := [number for number in picked if number not in found]:
        raise RequestInvalid(f"there is no image {unknown[0]}; the images are {', '.join(map(str, found))}")
    _add(here, planned, step, [found[number] for number in picked])
    return planned


def _assets(here: Services, parent: Generation) -> Sequence[Asset]:
    return here.ledger.generations.assets_of([parent.id]).get(parent.id, [])


def _planned(
    here: Services, parent: Generation, recipe: Recipe, moment: After, child: Child, *, assets: Sequence[Asset]
) -> Planned:
    planned = Planned()
    steps = [step for step in recipe.after(parent.step) if step.after is moment]
    labels: Mapping[str, str] = {}
    if any(step.when.labels for step in steps):
        labels = here.ledger.generations.labels_of([parent.id]).get(parent.id, {})
    facts = Facts(
        operation=parent.operation,
        action=parent.action,
        provider=parent.provider,
        options=parent.options,
        labels=labels,
        images=sum(asset.kind is AssetKind.IMAGE for asset in assets),
    )
    for step in steps:
        if not step.when.holds(facts):
            continue
        try:
            found = _candidates(here, parent, step, assets, child)
        except (RequestInvalid, ConfigurationError) as error:
            planned.refused.append(f"step {step.id}: {error}")
            continue
        if step.pick.waits and step.timeout is not None:
            planned.approvals.append(_approval(step, found))
            continue
        picked = step.pick.of(tuple(found), seed=f"{recipe.sha256}/{step.id}/{parent.id}")
        _add(here, planned, step, [found[number] for number in picked])
    return planned


def _approval(step: Step, found: Mapping[int, NewGeneration]) -> NewApproval:
    assert step.timeout is not None, "a step that waits has one"  # noqa: S101
    is_task = step.pick.chooser is Chooser.TASK
    return NewApproval(
        step=step.id,
        images=tuple(found),
        timeout=step.timeout,
        task=step.pick.task if is_task else None,
        queue=step.pick.queue if is_task else None,
    )


def _of_recipe(parent: Generation, recipe: Recipe) -> Child:
    def child(step: Step, number: int | None, request: GenerationRequest) -> NewGeneration:
        dedupe = dedupe_of_step(recipe.sha256, step.id, parent.id, number)
        return follow_up_of(parent, request, dedupe=dedupe, recipe=recipe, step=step.id)

    return child


def _of_short_form(parent: Generation, step: Step, _: int | None, request: GenerationRequest) -> NewGeneration:
    rest = step.id.partition("/")[2]
    dedupe = dedupe_of_follow_up(parent.id, str(request.action))
    return follow_up_of(parent, request, dedupe=dedupe, follow_up=(rest,) if rest else ())


def _add(here: Services, planned: Planned, step: Step, children: Sequence[NewGeneration]) -> None:
    """Add as many as the step's maximum cost allows; tests cost nothing."""
    if step.max_cost is None or all(child.is_test for child in children):
        planned.children.extend(children)
        return
    prices = here.prices
    if prices is None:
        planned.refused.append(f"step {step.id}: max_cost needs prices: name a price file in DARKROOM_PRICES")
        return
    left = limit = millionths(step.max_cost)
    for number, child in enumerate(children):
        amount = cost_of(prices, child)
        if amount > left:
            more = len(children) - number
            planned.refused.append(f"step {step.id}: {more} more would exceed its max_cost of {as_text(limit)}")
            return
        left -= amount
        planned.children.append(child)


def cost_of(prices: Prices, child: NewGeneration) -> int:
    """Return a follow-up's cost, in millionths."""
    request = child.request
    if child.is_test or request.operation is Operation.SPLIT:
        return 0
    return prices.quote(child.provider, request.operation, tier_of(request)).amount


def _candidates(
    here: Services, parent: Generation, step: Step, assets: Sequence[Asset], child: Child
) -> dict[int, NewGeneration]:
    """Return the follow-up of each image that can be picked, by its number; an only image has the number 1."""
    provider = here.provider_for(parent.provider, is_test=parent.is_test)
    if parent.depth >= here.settings.darkroom_max_depth:
        raise RequestInvalid(f"follow-ups may not be deeper than {parent.depth}")
    if (operation := step.operation) is None:
        raise RequestInvalid(f"unknown action {step.do!r}")
    requests = _requests(provider, parent, step, operation, assets)
    if operation is not Operation.SPLIT:
        for request in requests.values():
            provider.translate(request)
    is_only = len(requests) == 1
    return {number: child(step, None if is_only else number, request) for number, request in requests.items()}


def _requests(
    provider: Provider, parent: Generation, step: Step, operation: Operation, assets: Sequence[Asset]
) -> dict[int, GenerationRequest]:
    options = {name: list(value) if isinstance(value, tuple) else value for name, value in step.options.items()}
    if operation is Operation.SPLIT:
        if not is_grid(parent, assets):
            raise RequestInvalid("its result is not one grid of four images")
        return {1: GenerationRequest(operation=operation, prompt=parent.prompt, action=operation)}
    capability = provider.capabilities.get(operation)
    if capability is None:
        raise RequestInvalid(f"{provider.title} does not support {operation}")
    prompt = step.prompt or inherited_prompt(parent, operation)
    if capability.actions:
        request = GenerationRequest(operation=operation, prompt=prompt, options=options, parent=parent.handle)
        actions = _actions(parent, step, operation)
        return {number: replace(request, action=action) for number, action in actions.items()}
    if step.after is After.FAILED:
        kept = parent.options if operation is parent.operation else {}
        return {1: GenerationRequest(operation=operation, prompt=prompt, options={**kept, **options})}
    if "images" not in capability.options:
        return {1: GenerationRequest(operation=operation, prompt=prompt, options=options)}
    references = {asset.index + 1: reference_to(asset) for asset in assets if asset.kind is AssetKind.IMAGE}
    if not references:
        raise RequestInvalid("it has no image")
    return {
        number: GenerationRequest(operation=operation, prompt=prompt, options={"images": [reference], **options})
        for number, reference in references.items()
    }


def _actions(parent: Generation, step: Step, operation: Operation) -> Mapping[int, str]:
    offered = f"offered: {', '.join(parent.actions) or 'nothing'}"
    if step.is_action:
        if step.do not in parent.actions:
            raise RequestInvalid(f"{step.do} is not offered; {offered}")
        return {1: step.do}
    actions = [action for action in parent.actions if operation_of(action) is operation]
    if not actions:
        raise RequestInvalid(f"no {operation} is offered; {offered}")
    indexed = {int(match[1]): action for action in actions if (match := _INDEXED.fullmatch(action))}
    return dict(sorted(indexed.items())) or dict(enumerate(actions, start=1))


def reference_to(asset: Asset) -> str:
    """Return what stands for an image of ours in the options of a request."""
    if asset.object_key is None or asset.sha256 is None:
        raise RequestInvalid(f"image {asset.index + 1} is not in the bucket: write `after: archived`")
    if asset.content_type not in _TAKEN:
        raise RequestInvalid(f"image {asset.index + 1} is {asset.content_type}, which providers do not accept")
    if (asset.bytes or 0) > _LARGEST:
        raise RequestInvalid(f"image {asset.index + 1} is larger than the {_LARGEST >> 20} MB that providers accept")
    return input_reference(asset.sha256, _TAKEN[asset.content_type])
