"""The neighbors of an image, in gallery order: newest first, and by number within a generation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tasks.usecases.gallery import GalleryRequest, wanted
from tasks.usecases.services import LedgerServices
from worker.generation import Asset, AssetState
from worker.ledger.generations import Looked, Wanted

#: generations that one query may find
_MANY = 50
#: queries for the newer neighbor, each for a range of ids that is 16 times as wide as the last while nothing is found
_MOST_LOOKS, _WIDER = 60, 16
#: ids begin with 48 bits of milliseconds; the first range is a minute
_FIRST, _LAST = 1 << 96, (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class Place:
    """An image, or a generation that has none."""

    generation_id: str
    index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """`before`: the image on its left, which is newer, or the previous one of the same generation."""

    before: Place | None
    after: Place | None


def beside(here: LedgerServices, request: GalleryRequest, generation_id: str, index: int | None) -> Beside:
    """Return the neighbors of an image, which itself need not match. Raises as `gallery` does.

    A neighbor is also None if finding it would take too many queries.
    """
    queries, known = here.ledger.generations, wanted(here, request)
    own = _indexes(queries.assets_of([generation_id])[generation_id])
    at = own.index(index) if index in own else None
    before = after = None
    if at is not None and at > 0:
        before = Place(generation_id, own[at - 1])
    elif (newer := _newer(here, known, generation_id)) is not None:
        before = Place(newer, next(reversed(_indexes(queries.assets_of([newer])[newer])), None))
    if at is not None and at + 1 < len(own):
        after = Place(generation_id, own[at + 1])
    elif ids := queries.look(known, before=generation_id, limit=1).ids:
        after = Place(ids[0], next(iter(_indexes(queries.assets_of(list(ids))[ids[0]])), None))
    return Beside(before=before, after=after)


def _indexes(assets: Sequence[Asset]) -> list[int]:
    return [one.index for one in assets if one.state is not AssetState.DELETED]


def _newer(here: LedgerServices, known: Wanted, generation_id: str) -> str | None:
    """Return the oldest generation that is newer.

    The ledger searches from the newest, so the range is widened until it contains some, then halved until they are few.
    """
    floor, width = int(generation_id[4:], 16), _FIRST
    #: the range up to this id contains some
    top: int | None = None
    for _ in range(_MOST_LOOKS):
        last = min(_LAST, floor + width) if top is None else (floor + top) // 2
        looked = _between(here, known, floor + 1, last)
        if looked.is_cut:
            return None
        if looked.ids and looked.next is None:
            return looked.ids[-1]
        if looked.ids:
            top = last
        elif last == _LAST:
            return None
        else:
            floor, width = last, width * _WIDER
    return None


def _between(here: LedgerServices, known: Wanted, first: int, last: int) -> Looked:
    since = max(_id(first), known.since or "")
    return here.ledger.generations.look(replace(known, since=since), before=f"{_id(last)}0", limit=_MANY)


def _id(number: int) -> str:
    return f"gen_{number:032x}"
