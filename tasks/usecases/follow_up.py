"""One follow-up of an existing generation: an action that it offers, or an operation on one of its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tasks.capability_check import require_follow_ups
from tasks.children import child_of, follow_up_of, inherited_prompt
from tasks.recipe_steps import reference_to
from tasks.shown import shown
from tasks.splitting import actions_of
from tasks.usecases.entry_check import dedupe_for, follow_ups_of, refuse_unusable, refuse_unused
from tasks.usecases.inputs import InputFiles
from tasks.usecases.labels import check_labels
from tasks.usecases.names import find_generation
from worker.errors import NotPossible, RequestInvalid
from worker.generation import Asset, AssetKind, Generation, GenerationRequest, Operation, State, operation_of
from worker.ledger.generations import NewGeneration
from worker.providers import inputs_of
from worker.services import Services

#: operations that are not actions of their parent but take one of its images
OF_AN_IMAGE = (Operation.VIDEO, Operation.EDIT, Operation.DESCRIBE)
#: providers list what can follow an image, but do not always list repainting a region
UNLISTED = "variation_region"


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpRequest:
    """One follow-up of an archived generation; its own prompt replaces the parent's.

    `labels`: in addition to the parent's.
    `action`: one that the parent offers, or an operation that takes one of its images, such as `video`: the one with
    the number `image`, which counts from 0 and is required if there are several. `created_by`: as in `Defaults`.
    `is_test`: its parent must be a test; what follows a test always is one. `notify`: the address for its events.
    """

    parent_id: str
    action: str
    image: int | None = None
    prompt: str | None = None
    key: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    follow_up: str = ""
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    created_by: str | None = None
    is_test: bool = False
    notify: str | None = field(default=None, repr=False)


def on_parent(services: Services, wanted: FollowUpRequest, files: InputFiles) -> NewGeneration:
    """Return the requested follow-up, in its parent's batch. Raises as `check`; NotPossible if it is not archived."""
    refuse_unusable(wanted.key, wanted.priority)
    check_labels(wanted.labels)
    (parent,) = services.ledger.generations.get([find_generation(services.ledger, wanted.parent_id)])
    assets = services.ledger.generations.assets_of([parent.id]).get(parent.id, [])
    return check_follow_up(services, parent, assets, wanted, files)


def check_follow_up(
    services: Services, parent: Generation, assets: Sequence[Asset], wanted: FollowUpRequest, files: InputFiles
) -> NewGeneration:
    """Return the follow-up of this parent with these assets; raises as `on_parent`."""
    if parent.state is not State.ARCHIVED:
        raise NotPossible(f"{parent.id} is {parent.state}: a follow-up needs an archived parent")
    if wanted.is_test and not parent.is_test:
        raise RequestInvalid(f"{parent.id} is not a test: a test can only continue from another test")
    if wanted.action in OF_AN_IMAGE:
        return _of_an_image(services, parent, assets, wanted, files)
    provider, action = services.provider_for(parent.provider, is_test=parent.is_test), wanted.action
    possible = actions_of(parent, assets)
    operation = operation_of(action)
    if operation is Operation.SPLIT and action in possible:
        return _split(parent, wanted)
    capability = provider.capabilities.get(operation) if operation else None
    is_known = capability is not None and action in capability.actions
    if action not in possible and not (is_known and action == UNLISTED):
        offered = f"only {', '.join(possible)}" if possible else "and no other action"
        raise RequestInvalid(f"{parent.id} does not offer {shown(action)!r}, {offered}", about=("action",))
    if operation is None:
        raise RequestInvalid(
            f"{parent.id} offers {shown(action)!r}, which Darkroom does not support", about=("action",)
        )
    then = follow_ups_of(services, wanted.follow_up)
    require_follow_ups(provider, then)
    new = child_of(parent, action, then, dedupe=dedupe_for(wanted.key))
    if wanted.prompt is not None:
        refuse_unused(provider, operation, wanted.prompt)
        new = replace(new, request=replace(new.request, prompt=wanted.prompt))
    request = replace(new.request, options=dict(files.referenced(wanted.options)))
    provider.translate(request)
    return replace(
        new,
        key=wanted.key,
        priority=wanted.priority,
        request=request,
        labels=wanted.labels,
        created_by=wanted.created_by,
        inputs=inputs_of(request.options),
    )


def _of_an_image(
    services: Services, parent: Generation, assets: Sequence[Asset], wanted: FollowUpRequest, files: InputFiles
) -> NewGeneration:
    operation = Operation(wanted.action)
    provider = services.provider_for(parent.provider, is_test=parent.is_test)
    then = follow_ups_of(services, wanted.follow_up)
    require_follow_ups(provider, then)
    if wanted.prompt is not None and operation in provider.capabilities:
        refuse_unused(provider, operation, wanted.prompt)
    prompt = inherited_prompt(parent, operation) if wanted.prompt is None else wanted.prompt
    given = files.referenced(wanted.options)
    options = {**given, "images": [reference_to(_image(assets, wanted))]}
    request = GenerationRequest(operation=operation, prompt=prompt, options=options)
    provider.translate(request)
    files.require_usable(provider, request)
    new = follow_up_of(parent, request, dedupe=dedupe_for(wanted.key), follow_up=then)
    return replace(
        new,
        key=wanted.key,
        priority=wanted.priority,
        labels=wanted.labels,
        created_by=wanted.created_by,
        # The image itself is one of our results, which are not pruned.
        inputs=inputs_of(given),
    )


def _image(assets: Sequence[Asset], wanted: FollowUpRequest) -> Asset:
    images = {one.index: one for one in assets if one.kind is AssetKind.IMAGE}
    if not images:
        raise RequestInvalid(
            f"{wanted.parent_id} has no image that {wanted.action} could start from", about=("action",)
        )
    number = wanted.image
    if number is None and len(images) == 1:
        number = next(iter(images))
    if number not in images:
        there = ", ".join(map(str, images))
        raise RequestInvalid(f"{wanted.action} starts from one image: name it, one of {there}", about=("image",))
    return images[number]


def _split(parent: Generation, wanted: FollowUpRequest) -> NewGeneration:
    for part, is_there in (("prompt", wanted.prompt is not None), ("options", wanted.options)):
        if is_there:
            raise RequestInvalid(f"split accepts no {part}: it cuts the grid as it is", about=(part,))
    if wanted.follow_up:
        raise RequestInvalid("nothing can follow split: providers do not know the images that are cut here")
    new = child_of(parent, wanted.action, (), dedupe=dedupe_for(wanted.key))
    return replace(new, key=wanted.key, priority=wanted.priority, labels=wanted.labels, created_by=wanted.created_by)
