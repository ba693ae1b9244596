"""What the steps of a recipe create for one generation. Decides; the ledger writes it down."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tasks.splitting import is_grid
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import Asset, AssetKind, Generation, GenerationRequest, Operation, operation_of
from worker.ledger.generations import NewApproval, NewGeneration, dedupe_of_step
from worker.pricing import MILLION, as_text, tier_of
from worker.providers import Prompt, Provider, input_reference
from worker.recipes import After, Chooser, Facts, Recipe, Step
from worker.services import Services

_INDEXED = re.compile(r".*[a-z]([1-4])")
#: content types of images that providers take → extension
_TAKEN = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
#: bytes; Ace Data Cloud and Kie.ai take no larger images
_LARGEST = 10 * 1024 * 1024


@dataclass(slots=True)
class Planned:
    """`refused`: why other follow-ups are missing."""

    children: list[NewGeneration] = field(default_factory=list)
    approvals: list[NewApproval] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def plan_steps(here: Services, parent: Generation, recipe: Recipe, moment: After) -> Planned:
    """Return what the steps create that follow this moment of a generation."""
    planned = Planned()
    assets = here.ledger.generations.assets_of([parent.id]).get(parent.id, [])
    labels = here.ledger.generations.labels_of([parent.id]).get(parent.id, {})
    facts = Facts(
        operation=parent.operation,
        action=parent.action,
        provider=parent.provider,
        options=parent.options,
        labels=labels,
        images=sum(asset.kind is AssetKind.IMAGE for asset in assets),
    )
    for step in recipe.after(parent.step):
        if step.after is not moment or not step.when.holds(facts):
            continue
        try:
            found = _candidates(here, parent, recipe, step, assets)
        except (RequestInvalid, ConfigurationError) as error:
            planned.refused.append(f"step {step.id}: {error}")
            continue
        if step.pick.waits and step.timeout is not None:
            is_task = step.pick.chooser is Chooser.TASK
            planned.approvals.append(
                NewApproval(
                    step=step.id,
                    images=tuple(found),
                    timeout=step.timeout,
                    task=step.pick.task if is_task else None,
                    queue=step.pick.queue if is_task else None,
                )
            )
            continue
        picked = step.pick.of(tuple(found), seed=f"{recipe.sha256}/{step.id}/{parent.id}")
        _add(here, planned, step, [found[number] for number in picked])
    return planned


def plan_picked(here: Services, parent: Generation, recipe: Recipe, step: Step, picked: Sequence[int]) -> Planned:
    """Return what a step creates of the picked images. Raises RequestInvalid for images that are not there."""
    planned = Planned()
    assets = here.ledger.generations.assets_of([parent.id]).get(parent.id, [])
    try:
        found = _candidates(here, parent, recipe, step, assets)
    except (RequestInvalid, ConfigurationError) as error:
        planned.refused.append(f"step {step.id}: {error}")
        return planned
    if unknown := [number for number in picked if number not in found]:
        raise RequestInvalid(f"there is no image {unknown[0]}; there are {', '.join(map(str, found))}")
    _add(here, planned, step, [found[number] for number in picked])
    return planned


def _add(here: Services, planned: Planned, step: Step, children: Sequence[NewGeneration]) -> None:
    """As many as its cost allows."""
    if step.max_cost is None:
        planned.children.extend(children)
        return
    prices = here.prices
    if prices is None:
        planned.refused.append(f"step {step.id}: max_cost needs prices: name a price file in DARKROOM_PRICES")
        return
    left = int(step.max_cost * MILLION)
    for number, child in enumerate(children):
        request = child.request
        amount = 0
        if request.operation is not Operation.SPLIT:
            amount = prices.quote(child.provider, request.operation, tier_of(request)).amount
        if amount > left:
            more, limit = len(children) - number, as_text(int(step.max_cost * MILLION))
            planned.refused.append(f"step {step.id}: {more} more would exceed its max_cost of {limit}")
            return
        left -= amount
        planned.children.append(child)


def _candidates(
    here: Services, parent: Generation, recipe: Recipe, step: Step, assets: Sequence[Asset]
) -> dict[int, NewGeneration]:
    """Return the follow-up of each image that can be picked, by its number; the only one has the number 1."""
    provider = here.provider(parent.provider)
    if parent.depth >= here.settings.darkroom_max_depth:
        raise RequestInvalid(f"follow-ups may not be deeper than {parent.depth}")
    operation = Operation(step.do) if step.do in set(Operation) else operation_of(step.do)
    if operation is None:
        raise RequestInvalid(f"unknown action {step.do!r}")
    requests = _requests(provider, parent, step, operation, assets)
    if operation is not Operation.SPLIT:
        for request in requests.values():
            provider.translate(request)
    is_only = len(requests) == 1
    return {
        number: NewGeneration(
            provider=parent.provider,
            request=request,
            dedupe=dedupe_of_step(recipe.sha256, step.id, parent.id, None if is_only else number),
            priority=parent.priority,
            parent_id=parent.id,
            depth=parent.depth + 1,
            batch_id=parent.batch_id,
            recipe=recipe,
            step=step.id,
        )
        for number, request in requests.items()
    }


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
    prompt = step.prompt or ("" if capability.prompt is Prompt.UNUSED else parent.prompt)
    if capability.actions:
        request = GenerationRequest(operation=operation, prompt=prompt, options=options, parent=parent.handle)
        actions = _actions(parent, step, operation)
        return {number: replace(request, action=action) for number, action in actions.items()}
    if step.after is After.FAILED:
        kept = parent.options if operation is parent.operation else {}
        return {1: GenerationRequest(operation=operation, prompt=prompt, options={**kept, **options})}
    if "images" not in capability.options:
        return {1: GenerationRequest(operation=operation, prompt=prompt, options=options)}
    references = {asset.index + 1: _reference(asset) for asset in assets if asset.kind is AssetKind.IMAGE}
    if not references:
        raise RequestInvalid("it has no image")
    return {
        number: GenerationRequest(operation=operation, prompt=prompt, options={"images": [reference], **options})
        for number, reference in references.items()
    }


def _actions(parent: Generation, step: Step, operation: Operation) -> Mapping[int, str]:
    offered = f"offered: {', '.join(parent.actions) or 'nothing'}"
    if step.do not in set(Operation):
        if step.do not in parent.actions:
            raise RequestInvalid(f"{step.do} is not offered; {offered}")
        return {1: step.do}
    actions = [action for action in parent.actions if operation_of(action) is operation]
    if not actions:
        raise RequestInvalid(f"no {operation} is offered; {offered}")
    indexed = {int(match[1]): action for action in actions if (match := _INDEXED.fullmatch(action))}
    return dict(sorted(indexed.items())) or dict(enumerate(actions, start=1))


def _reference(asset: Asset) -> str:
    """Return what stands for an image of ours in the options of a request."""
    if asset.object_key is None or asset.sha256 is None:
        raise RequestInvalid(f"image {asset.index + 1} is not in the bucket: write `after: archived`")
    if asset.content_type not in _TAKEN:
        raise RequestInvalid(f"image {asset.index + 1} is {asset.content_type}, which providers do not take")
    if (asset.bytes or 0) > _LARGEST:
        raise RequestInvalid(f"image {asset.index + 1} is larger than the {_LARGEST >> 20} MB that providers accept")
    return input_reference(asset.sha256, _TAKEN[asset.content_type])
