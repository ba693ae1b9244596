"""Thumbnails for displaying stored images: links, colors, sizes, and requests for missing ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.stored_images import EDGE
from tasks.usecases.assets import LINK_LIFE
from tasks.usecases.services import LedgerServices
from worker.errors import NotFound
from worker.generation import Asset, AssetState, ThumbnailState
from worker.services import Services
from worker.steps import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownThumbnail:
    """How to show an image small; videos and texts have no thumbnail, and so no `state`.

    `state`: also None for an image whose thumbnail nobody has requested. `colour`: the average, `#rrggbb`. `width` and
    `height` of the thumbnail, also before it is made; None if the image's own size is unknown.
    """

    asset: Asset
    state: ThumbnailState | None
    colour: str | None
    width: int | None
    height: int | None


@dataclass(frozen=True, slots=True)
class ThumbnailLink:
    """`url`: a presigned link, a secret that is never stored or logged; None if there is no thumbnail, or not yet."""

    shown: ShownThumbnail
    url: str | None


def shown(asset: Asset) -> ShownThumbnail:
    """Return how to show an asset small, from its recorded facts."""
    one = asset.thumbnail
    colour = None if one is None or one.colour is None else f"#{one.colour:06x}"
    width, height = (one.width, one.height) if one is not None and one.width is not None else _size(asset)
    return ShownThumbnail(
        asset=asset, state=None if one is None else one.state, colour=colour, width=width, height=height
    )


def find_thumbnail(here: Services, generation_id: str, index: int) -> ThumbnailLink:
    """Return the thumbnail of a stored asset, made or not. Raises NotFound for an asset that is not in the bucket."""
    assets = here.ledger.generations.assets_of([generation_id]).get(generation_id, [])
    found = next((one for one in assets if one.index == index and one.state is AssetState.STORED), None)
    if found is None or found.object_key is None:
        raise NotFound(f"no asset {index} of {generation_id} is stored")
    how = shown(found)
    url = None
    if how.state is ThumbnailState.MADE:
        url = here.archive.url(here.archive.keys.thumbnail_beside(found.object_key), expires=LINK_LIFE)
    return ThumbnailLink(how, url)


def ask_for(here: LedgerServices, assets: Sequence[Asset]) -> tuple[Step, ...]:
    """Request missing thumbnails of these ahead of all others; return the step to wake, if there is anything to do.

    Repeating the request changes nothing. Thumbnails that could not be made stay as they are, and while
    DARKROOM_THUMBNAILS is false, none are made.
    """
    missing = [asset.id for asset in assets if asset.state is AssetState.STORED and _may_be_wanted(asset)]
    if not here.settings.darkroom_thumbnails or not here.ledger.assets.want_thumbnails(missing):
        return ()
    return (Step.THUMBNAIL,)


def ask_again(here: Services, link: ThumbnailLink) -> tuple[Step, ...]:
    """Have a thumbnail that failed to load made again, if it is gone from the bucket.

    Return the step to wake; none if it is there. Raises ArchiveError.
    """
    asset = link.shown.asset
    key = here.archive.keys.thumbnail_beside(str(asset.object_key))
    if not here.settings.darkroom_thumbnails or any(one.object_key == key for one in here.archive.list(key)):
        return ()
    here.ledger.assets.want_thumbnail_again(asset.id)
    return (Step.THUMBNAIL,)


def _may_be_wanted(asset: Asset) -> bool:
    return asset.thumbnail is None or asset.thumbnail.state is ThumbnailState.WANTED


def _size(asset: Asset) -> tuple[int | None, int | None]:
    if not asset.width or not asset.height:
        return None, None
    shrunk = min(1.0, EDGE / max(asset.width, asset.height))
    return max(1, round(asset.width * shrunk)), max(1, round(asset.height * shrunk))
