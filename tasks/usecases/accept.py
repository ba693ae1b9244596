"""Refused files: view them and archive them unchanged."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.refused import kind_of
from tasks.usecases.names import find_generation, is_key
from tasks.usecases.person import Person
from worker.errors import ArchiveError, NotFound
from worker.generation import Asset, AssetState
from worker.services import Services
from worker.steps import Step

#: the step that stores accepted files
WAKES = (Step.ARCHIVE,)
#: states in which an asset may still be archived
_OPEN = (AssetState.WAITING, AssetState.EXPIRED)
#: bytes needed to identify a file's type
_HEAD = 64


@dataclass(frozen=True, slots=True)
class AssetChoice:
    """One asset of a generation or, without an index, all its refused assets."""

    generation_id: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class AcceptRequest:
    choices: tuple[AssetChoice, ...]
    person: Person


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedBytes:
    """`refused`: the reason; `link`: a link to the file, valid for an hour; `trouble`: why it cannot be read now."""

    generation_id: str
    index: int
    bytes: int
    sha256: str
    object_key: str
    refused: str
    declared_type: str | None
    content_type: str | None = None
    link: str | None = None
    trouble: str | None = None


def read_choices(here: Services, names: Sequence[str]) -> tuple[AssetChoice, ...]:
    """Parse `NAME/INDEX`, with or without `asset:`, as one asset of that generation, `NAME` as all its refused ones.

    Raises as `find_generation` does.
    """
    return tuple(_read_choice(here, name.removeprefix("asset:")) for name in names)


def _read_choice(here: Services, name: str) -> AssetChoice:
    generation, slash, index = name.rpartition("/")
    if slash and re.fullmatch(r"[0-9]{1,4}", index):
        # A key may look like this, too.
        if is_key(here.ledger, name):
            return AssetChoice(find_generation(here.ledger, name))
        return AssetChoice(find_generation(here.ledger, generation), int(index))
    return AssetChoice(find_generation(here.ledger, name))


def look_at_refused(here: Services, choices: tuple[AssetChoice, ...]) -> tuple[tuple[RefusedBytes, ...], ...]:
    """Return the refused files kept for each choice; changes nothing. Raises NotFound for an unknown generation."""
    here.ledger.generations.get([one.generation_id for one in choices])
    return tuple(_kept(here, one) for one in choices)


def accept(
    here: Services, request: AcceptRequest, tell: Callable[[AssetChoice, tuple[RefusedBytes, ...]], None]
) -> None:
    """Let the archive step store the files unchanged; call `tell` after each choice with what was accepted.

    Raises NotFound before anything is changed.
    """
    here.ledger.generations.get([one.generation_id for one in request.choices])
    for choice in request.choices:
        kept = _kept(here, choice)
        if kept:
            indexes = [one.index for one in kept]
            here.ledger.assets.accept(choice.generation_id, indexes, request.person.name, request.person.why)
        tell(choice, kept)


def _kept(here: Services, choice: AssetChoice) -> tuple[RefusedBytes, ...]:
    assets = here.ledger.generations.assets_of([choice.generation_id])[choice.generation_id]
    chosen = [one for one in assets if choice.index in {None, one.index}]
    return tuple(_look(here, one) for one in chosen if one.refused is not None and one.state in _OPEN)


def _look(here: Services, asset: Asset) -> RefusedBytes:
    refused = asset.refused
    assert refused is not None  # noqa: S101  selected on this condition
    key = here.archive.keys.rejected(asset.generation_id, asset.index)
    kind, link, trouble = None, None, None
    try:
        with here.archive.read(key) as pieces:
            kind = kind_of(next(pieces, b"")[:_HEAD], refused.type)
        link = here.archive.url(key)
    except (ArchiveError, NotFound) as error:
        trouble = str(error)
    return RefusedBytes(
        generation_id=asset.generation_id,
        index=asset.index,
        bytes=refused.bytes,
        sha256=refused.sha256,
        object_key=key,
        refused=refused.why,
        declared_type=refused.type,
        content_type=kind,
        link=link,
        trouble=trouble,
    )
