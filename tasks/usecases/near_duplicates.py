"""Groups of similar images within one batch."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tasks.usecases.names import find_batch
from tasks.usecases.services import LedgerServices
from worker.errors import RequestInvalid

#: maximum of 64 bits in which similar images differ; a re-encoded or smaller copy differs in 0 to 4
DISTANCE = 6
#: above this, most images of a batch would be in one group
MOST_DISTANCE = 10
#: maximum number of images examined per batch, oldest first
MOST_IMAGES = 20_000
#: maximum number of pairs compared, which takes half a second
_MOST_PAIRS = 3_000_000


@dataclass(frozen=True, slots=True)
class Image:
    """An asset by its generation and its index."""

    generation_id: str
    index: int


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """`groups`: largest first, in each the oldest image first; no image is in two.

    `unknown`: images without a thumbnail, which cannot be compared. `is_complete`: False if the batch
    has too many images to compare them all.
    """

    groups: tuple[tuple[Image, ...], ...]
    compared: int
    unknown: int
    is_complete: bool


def near_duplicates(here: LedgerServices, batch: str, distance: int = DISTANCE) -> NearDuplicates:
    """Return the images of a batch that differ by at most `distance` bits, directly or through others between them.

    Raises RequestInvalid for a distance outside 0 to 10, and as `find_batch` does.
    """
    if not 0 <= distance <= MOST_DISTANCE:
        raise RequestInvalid(f"the distance is from 0 to {MOST_DISTANCE} bits, not {distance}")
    found = here.ledger.assets.fingerprints(find_batch(here.ledger, batch), MOST_IMAGES + 1)
    is_cut = len(found) > MOST_IMAGES
    alike: dict[int, list[Image]] = defaultdict(list)
    unknown = 0
    for one in found[:MOST_IMAGES]:
        if one.dhash is None:
            unknown += 1
        else:
            alike[one.dhash].append(Image(one.generation_id, one.number))
    joined, is_done = _joined(alike.keys(), distance)
    groups = [tuple(sorted((one for each in hashes for one in alike[each]), key=_place)) for hashes in joined]
    groups = sorted((group for group in groups if len(group) > 1), key=lambda group: (-len(group), _place(group[0])))
    compared = sum(map(len, alike.values()))
    return NearDuplicates(tuple(groups), compared, unknown, is_complete=is_done and not is_cut)


def _place(image: Image) -> tuple[str, int]:
    return image.generation_id, image.index


def _joined(hashes: Collection[int], distance: int) -> tuple[Iterable[list[int]], bool]:
    """Join different hashes into groups; False if there were too many pairs to compare.

    Two that differ in `distance` bits differ in at most one bit in one of these bands (in none, if it is 0), so those
    are looked up. With narrower bands, in which they would be equal, smooth images would all share one.
    """
    root = {one: one for one in hashes}

    def root_of(one: int) -> int:
        while root[one] != one:
            root[one] = one = root[root[one]]
        return one

    pairs = 0
    for shift, width in _bands(distance // 2 + 1):
        near = [0, *(1 << bit for bit in range(width))] if distance else [0]
        seen: dict[int, list[int]] = {}
        for one in hashes:
            band = one >> shift & ((1 << width) - 1)
            for difference in near:
                if (others := seen.get(band ^ difference)) is not None:
                    pairs += len(others)
                    for other in [other for other in others if (one ^ other).bit_count() <= distance]:
                        root[root_of(other)] = root_of(one)
            seen.setdefault(band, []).append(one)
            if pairs > _MOST_PAIRS:
                return _groups(hashes, root_of), False
    return _groups(hashes, root_of), True


def _bands(number: int) -> Iterator[tuple[int, int]]:
    """Yield where each part of the 64 bits begins, and how many bits it has."""
    edges = [64 * place // number for place in range(number + 1)]
    yield from ((start, end - start) for start, end in pairwise(edges))


def _groups(hashes: Iterable[int], root_of: Callable[[int], int]) -> Iterable[list[int]]:
    groups: dict[int, list[int]] = defaultdict(list)
    for one in hashes:
        groups[root_of(one)].append(one)
    return groups.values()
