"""The gallery: results, newest first, with filters, at a bounded cost per page."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from tasks.shown import shown
from tasks.splitting import actions_of
from tasks.usecases.assets import text_of
from tasks.usecases.names import batches_called
from tasks.usecases.near_duplicates import near_duplicates
from tasks.usecases.selection import is_pattern
from tasks.usecases.services import LedgerServices
from tasks.usecases.thumbnails import shown as thumbnail_of
from worker.errors import RequestInvalid
from worker.generation import Asset, AssetKind, AssetState, Generation, Operation, State, ThumbnailState
from worker.ledger.generations import Looked, Wanted
from worker.ledger.marks import ImageMark, Mark
from worker.providers import PROVIDERS
from worker.secrets import links_hidden, redact

#: minimum number of images per page; the last generation is shown completely
PAGE = 100
#: the choices of a filter
PROVIDER_NAMES = tuple(PROVIDERS)
#: maximum number of batches with one name
_MOST_BATCHES = 50
_LONGEST = 200
#: lines and characters shown of a text
_LINES, _CHARACTERS = 8, 600
_CURSOR = re.compile(r"gen_[0-9a-f]{32}")
#: the default: whatever has results. Rarest first, as the ledger requires
WITH_RESULTS = (State.EXPIRED, State.SUCCEEDED, State.ARCHIVED)
#: the size shown if it is unknown
_SQUARE = 1024
#: states of a thumbnail that will soon exist
_COMING = (None, ThumbnailState.WANTED)
#: maximum number of similar images shown at once
_MOST_SIMILAR = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRequest:
    """`batch`: a name or an id; `state`: None for whatever has results; `key`: a pattern, as in `Selection`.

    `words`: in the prompt, in any case; `mark`: only images with it, rejected ones only if all of their generation are;
    `since`, `until`: UTC days, inclusive; `cursor`: `next` of the previous page.
    """

    batch: str | None = None
    provider: str | None = None
    operation: Operation | None = None
    state: State | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    words: str | None = None
    mark: Mark | None = None
    since: date | None = None
    until: date | None = None
    cursor: str | None = None

    @property
    def is_counted(self) -> bool:
        """Whether the ledger can count them without reading them."""
        return (
            not (self.provider or self.operation or self.labels or self.key or self.words or self.mark)
            and not self.has_days
        )

    @property
    def has_days(self) -> bool:
        return self.since is not None or self.until is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A result, or a generation that has none (`index` is None). `why`: its problem, if any.

    `width`, `height`: in pixels, of a square if unknown. `bytes`: only for stored results. `has_thumbnail`: one exists
    or can be requested; `colour`: the average, `#rrggbb`. `actions`: what can follow its generation.
    """

    generation_id: str
    index: int | None
    kind: AssetKind | None
    is_stored: bool
    state: State
    provider: str
    operation: Operation
    action: str | None
    prompt: str
    key: str | None
    created_at: datetime
    width: int
    height: int
    bytes: int | None = None
    content_type: str | None = None
    seconds: float | None = None
    text: str | None = None
    why: str | None = None
    is_test: bool = False
    has_thumbnail: bool = False
    colour: str | None = None
    actions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarPictures:
    """Groups of similar images of a batch, largest first. `left`: how many more groups there are.

    `compared`: images; `unknown`: images that could not be compared because they have no thumbnail yet. `is_complete`:
    all were compared.
    """

    groups: tuple[tuple[Picture, ...], ...]
    left: int
    compared: int
    unknown: int
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryPage:
    """A page. `searched_back_to`: the time at which the row limit was reached; there may be more before it."""

    pictures: tuple[Picture, ...]
    next: str | None
    searched_back_to: datetime | None = None


def gallery(here: LedgerServices, request: GalleryRequest, limit: int = PAGE) -> GalleryPage:
    """Return a page of images.

    Raises NotFound for an unknown batch, RequestInvalid for filters that nothing can match.
    """
    queries = here.ledger.generations
    looked = queries.look(wanted(here, request), before=_cursor(request), limit=limit)
    assets = queries.assets_of(looked.ids)
    length, number = 0, 0
    while length < len(looked.ids) and number < limit:
        number += max(1, len(assets[looked.ids[length]]))
        length += 1
    ids = looked.ids[:length]
    pictures = tuple(one for of in _pictures_of(here, ids, assets).values() for one in of)
    if request.mark is not None:
        marked = {(one.generation_id, one.number) for one in marks_of(here, ids, request.mark)}
        pictures = tuple(one for one in pictures if (one.generation_id, one.index) in marked)
    if length < len(looked.ids):
        return GalleryPage(pictures=pictures, next=ids[-1])
    searched = made_at(looked.next) if looked.is_cut and looked.next else None
    return GalleryPage(pictures=pictures, next=looked.next, searched_back_to=searched)


def similar(here: LedgerServices, batch: str) -> SimilarPictures:
    """Return the similar images of a batch. Raises as `near_duplicates`."""
    found = near_duplicates(here, batch)
    groups, number = [], 0
    for group in found.groups:
        if number >= _MOST_SIMILAR:
            break
        groups.append(group)
        number += len(group)
    ids = list(dict.fromkeys(one.generation_id for group in groups for one in group))
    known = _pictures_of(here, ids, here.ledger.generations.assets_of(ids))
    pictures = {(one.generation_id, one.index): one for of in known.values() for one in of}
    return SimilarPictures(
        groups=tuple(
            tuple(pictures[place] for one in group if (place := (one.generation_id, one.index)) in pictures)
            for group in groups
        ),
        left=len(found.groups) - len(groups),
        compared=found.compared,
        unknown=found.unknown,
        is_complete=found.is_complete,
    )


def count(here: LedgerServices, request: GalleryRequest) -> int | None:
    """Return the number of generations; None if counting would require reading all of them."""
    if not request.is_counted:
        return None
    known = wanted(here, request)
    counts = [here.ledger.generations.counts(batch) for batch in known.batches or (None,)]
    return sum(number for of in counts for state, number in of.items() if state in known.states)


def all_ids(here: LedgerServices, request: GalleryRequest, *, until: str | None = None) -> Iterator[str]:
    """Yield the id of everything that matches, newest first, however many rows that takes.

    `until`: the newest to include. Raises as `gallery` does.
    """
    known, before = wanted(here, request), None if until is None else f"{until}0"
    while True:
        looked: Looked = here.ledger.generations.look(known, before=before, limit=1000)
        yield from looked.ids
        if looked.next is None:
            return
        before = looked.next


def marks_of(here: LedgerServices, ids: Sequence[str], mark: Mark) -> Iterator[ImageMark]:
    """Yield the images of these generations that have this mark."""
    return (one for one in here.ledger.marks.of(ids) if one.verdict is mark)


def batch_names(here: LedgerServices, most: int) -> list[str]:
    """Return the names of the newest batches."""
    return [one.name for one in here.ledger.generations.newest_batches(most)]


def wanted(here: LedgerServices, request: GalleryRequest) -> Wanted:
    """Return the ledger's query. Raises as `gallery` does."""
    if request.provider is not None and request.provider not in PROVIDERS:
        raise RequestInvalid(f"unknown provider {shown(request.provider)!r}; expected one of {', '.join(PROVIDERS)}")
    for name, asked in (("key", request.key), ("text", request.words)):
        if asked is not None and len(asked) > _LONGEST:
            raise RequestInvalid(f"the {name} to search for is longer than {_LONGEST} characters: give a part of it")
    if request.since is not None and request.until is not None and request.since > request.until:
        raise RequestInvalid(f"the first day {request.since} is after the last day {request.until}: swap them")
    return Wanted(
        states=WITH_RESULTS if request.state is None else (request.state,),
        batches=None if request.batch is None else _batches(here, request.batch),
        provider=request.provider,
        operation=request.operation,
        labels=request.labels,
        key=request.key,
        is_exact=request.key is not None and not is_pattern(request.key),
        words=request.words,
        mark=request.mark,
        since=None if request.since is None else _first_id(request.since),
        # Nothing is after the last day of the calendar.
        until=None if request.until in {None, date.max} else _first_id(request.until + timedelta(days=1)),
    )


def made_at(generation_id: str) -> datetime:
    """Return when an id was assigned."""
    return datetime.fromtimestamp(int(generation_id[4:16], 16) / 1000, UTC)


def _batches(here: LedgerServices, batch: str) -> tuple[str, ...]:
    """Return all batches with this name; the newest one if it is part of an id."""
    found = batches_called(here.ledger, batch)
    if any(one.name != batch for one in found):
        return tuple(one.id for one in found if one.id == batch) or (found[0].id,)
    ids = tuple(here.ledger.generations.batch_ids(batch))
    if len(ids) > _MOST_BATCHES:
        raise RequestInvalid(f"{len(ids)} batches are named {shown(batch)!r}: give the id of one of them")
    return ids


def _first_id(day: date) -> str:
    """Return the lower bound of a day's ids: an id begins with its milliseconds."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return f"gen_{max(0, int(at.timestamp() * 1000)):012x}"


def _cursor(request: GalleryRequest) -> str | None:
    if request.cursor is not None and not _CURSOR.fullmatch(request.cursor):
        raise RequestInvalid("there is no such page: start with the first one")
    return request.cursor


def _pictures_of(
    here: LedgerServices, ids: Sequence[str], assets: Mapping[str, Sequence[Asset]]
) -> Mapping[str, list[Picture]]:
    generations = here.ledger.generations.get(ids)
    lineages = here.ledger.generations.lineages([one.id for one in generations if one.parent_id])
    keys = {one: of.root_key for one, of in lineages.items()}
    makes = here.settings.darkroom_thumbnails
    return {one.id: list(_pictures(one, keys.get(one.id), assets[one.id], makes=makes)) for one in generations}


def _pictures(of: Generation, root_key: str | None, assets: Sequence[Asset], *, makes: bool) -> Iterator[Picture]:
    def picture(asset: Asset | None) -> Picture:
        is_stored = asset is not None and asset.state is AssetState.STORED
        is_known = asset is not None and asset.width and asset.height
        how = thumbnail_of(asset) if asset is not None and is_stored else None
        return Picture(
            generation_id=of.id,
            index=asset.index if asset else None,
            kind=asset.kind if asset else None,
            is_stored=is_stored,
            state=of.state,
            provider=of.provider,
            operation=of.operation,
            action=of.action,
            prompt=links_hidden(of.prompt),
            key=of.key or root_key,
            created_at=of.created_at,
            width=asset.width or 0 if asset is not None and is_known else _SQUARE,
            height=asset.height or 0 if asset is not None and is_known else _SQUARE,
            bytes=asset.bytes if asset is not None and is_stored else None,
            content_type=asset.content_type if asset else None,
            seconds=asset.seconds if asset else None,
            text=_first_lines(asset) if asset is not None and asset.content is not None else None,
            why=_why(of, asset),
            is_test=of.is_test,
            has_thumbnail=how is not None and (how.state is ThumbnailState.MADE or (makes and how.state in _COMING)),
            colour=how.colour if how is not None else None,
            actions=actions_of(of, assets) if of.state is State.ARCHIVED else (),
        )

    there = [one for one in assets if one.state is not AssetState.DELETED]
    yield from (picture(one) for one in there) if there else [picture(None)]


def _first_lines(asset: Asset) -> str:
    lines = text_of(asset.content or {}).splitlines()
    first: str = links_hidden("\n".join(lines[:_LINES])[:_CHARACTERS])
    return first


def _why(of: Generation, asset: Asset | None) -> str | None:
    told = of.message if asset is None else asset.error if asset.state is not AssetState.STORED else None
    return redact(told) if told else None
