"""What a person sees after following an approval's link."""

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.deciding import consequences
from worker.errors import NotFound
from worker.generation import Asset, AssetKind, AssetState, Generation
from worker.ledger.approvals import Approval
from worker.pricing import as_text, millionths
from worker.recipes import Chooser, Pick
from worker.secrets import links_hidden
from worker.services import Services

#: the numbers of a grid's images, as providers count them
_QUADRANTS = (1, 2, 3, 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImage:
    """An image on the page. `index`: of the asset; `numbers`: of the images in it, four in a grid."""

    index: int
    numbers: tuple[int, ...]
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPage:
    """`do`: what follows; `costs`: of each image, as text with its currency; `otherwise`: if nobody decides.

    `amounts`: the same costs in millionths of the currency; `max_cost`: more follow-ups of the step are refused.
    `unseen`: numbers that can be picked but are in no image. `has_more_steps`: whether the recipe continues afterwards,
    which costs more.
    """

    approval: Approval
    prompt: str
    batch: str | None
    key: str | None
    recipe: str
    do: str
    images: tuple[ShownImage, ...]
    unseen: tuple[int, ...]
    costs: Mapping[int, str]
    has_more_steps: bool
    otherwise: str
    generation: Generation
    amounts: Mapping[int, int]
    currency: str | None
    max_cost: str | None


def page_of(here: Services, approval_id: str) -> ApprovalPage:
    """Return the page of an approval. Raises NotFound."""
    approval = here.ledger.approvals.get(approval_id)
    (generation,) = here.ledger.generations.get([approval.generation_id])
    lineage = here.ledger.generations.lineages([generation.id])[generation.id]
    after = consequences(here, approval)
    prices = here.prices
    costs = {} if prices is None or after.costs is None else after.costs
    images = _shown_images(here, approval)
    shown = {number for image in images for number in image.numbers}
    return ApprovalPage(
        approval=approval,
        prompt=links_hidden(generation.prompt),
        batch=lineage.batch,
        key=generation.key or lineage.root_key,
        recipe=after.recipe.name,
        do=after.step.do,
        images=images,
        unseen=tuple(number for number in approval.images if number not in shown),
        costs={number: f"{as_text(cost)} {prices.currency}" for number, cost in costs.items()} if prices else {},
        has_more_steps=bool(after.step.then),
        otherwise=_in_words(after.step.otherwise),
        generation=generation,
        amounts=costs,
        currency=prices.currency if prices is not None else None,
        max_cost=None if after.step.max_cost is None else as_text(millionths(after.step.max_cost)),
    )


def image_of(here: Services, approval_id: str, index: int) -> Asset:
    """Return a stored image of the generation that an approval is about. Raises NotFound."""
    approval = here.ledger.approvals.get(approval_id)
    for asset in _images(here, approval.generation_id):
        if asset.index == index:
            return asset
    raise NotFound(f"{approval.generation_id} has no image {index}")


def _images(here: Services, generation_id: str) -> list[Asset]:
    assets = here.ledger.generations.assets_of([generation_id]).get(generation_id, [])
    return [
        asset
        for asset in assets
        if asset.kind is AssetKind.IMAGE and asset.state is AssetState.STORED and asset.object_key is not None
    ]


def _shown_images(here: Services, approval: Approval) -> tuple[ShownImage, ...]:
    images = _images(here, approval.generation_id)
    # A single image with several numbers is a grid, whatever its provider offers for it.
    is_one_grid = len(images) == 1 and len(approval.images) > 1 and set(approval.images) <= set(_QUADRANTS)
    return tuple(
        ShownImage(
            index=asset.index,
            numbers=_QUADRANTS if is_one_grid else (asset.index + 1,),
            width=asset.width,
            height=asset.height,
        )
        for asset in images
        if is_one_grid or asset.index + 1 in approval.images
    )


def _in_words(otherwise: Pick | None) -> str:
    if otherwise is None:
        return "nothing follows"
    match otherwise.chooser:
        case Chooser.ALL:
            return "all images are picked"
        case Chooser.RANDOM:
            return f"{'1 image is' if otherwise.count == 1 else f'{otherwise.count} images are'} picked at random"
    which = ", ".join(map(str, otherwise.numbers))
    return f"image {which} is picked" if len(otherwise.numbers) == 1 else f"images {which} are picked"
