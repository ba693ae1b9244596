"""One result of a generation: a link to our copy, or its text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from tasks.usecases.names import find_generation
from tasks.usecases.queries import list_waits
from tasks.waiting import wait_of
from worker.errors import ArchiveError, ConfigurationError, Gone, NotFound, NotYet
from worker.generation import OPEN, Asset, AssetState, Generation, State, iso
from worker.secrets import redact
from worker.services import Services

#: the life of a link, and how long it may be reused
LINK_LIFE = timedelta(hours=1)
LINK_REUSE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class AssetFile:
    """`url`: a presigned link, a secret that is never stored or logged."""

    asset: Asset
    url: str


@dataclass(frozen=True, slots=True)
class AssetText:
    asset: Asset
    text: str


def get_asset(here: Services, name: str, index: int) -> AssetFile | AssetText:
    """Return a stored asset of the generation with that name.

    Raises NotFound for unknown or abandoned assets; Gone for deleted ones; NotYet, with the reason and the time of the
    next try, for assets that are not stored yet; RequestInvalid as `find_generation` does.
    """
    generation_id = find_generation(here.ledger, name)
    (generation,) = here.ledger.generations.get([generation_id])
    assets = here.ledger.generations.assets_of([generation_id]).get(generation_id, [])
    if generation.state is State.DELETED:
        raise Gone(f"{generation_id} was deleted")
    found = next((asset for asset in assets if asset.index == index), None)
    if found is None:
        raise _missing(here, generation, len(assets), index)
    if found.content is not None:
        return AssetText(found, text_of(found.content))
    if (link := link_to(here, found)) is not None:
        return AssetFile(found, link)
    raise _not_stored(found)


def link_to(here: Services, asset: Asset) -> str | None:
    """Return a presigned link to a stored file, None if it has none; never store or log it."""
    if asset.state is not AssetState.STORED or asset.object_key is None or asset.content is not None:
        return None
    return here.archive.url(asset.object_key, expires=LINK_LIFE)


def bucket_origin(here: Services) -> str | None:
    """Return the origin of presigned links, such as https://bucket.s3.amazonaws.com; None if there is no bucket."""
    try:
        parts = urlsplit(here.archive.url("origin"))
    except (ArchiveError, ConfigurationError):
        return None
    return f"{parts.scheme}://{parts.netloc}"


def text_of(content: Mapping[str, object]) -> str:
    """Return the values of a text result, each on its own lines."""
    values = (value if isinstance(value, list) else [value] for value in content.values())
    lines = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for value in values for one in value)
    return "".join(f"{line}\n" for line in lines)


def _missing(here: Services, generation: Generation, number: int, index: int) -> NotFound | NotYet:
    if number:
        numbered = "number 0" if number == 1 else f"numbers 0 to {number - 1}"
        return NotFound(f"{generation.id} has no asset {index}: it has {numbered}")
    if generation.state not in OPEN:
        why = f": {redact(generation.message)}" if generation.message else ""
        return NotFound(f"{generation.id} is {generation.state} and has no assets{why}")
    wait = wait_of(generation, list_waits(here))
    why = f"; {redact(wait.told)}" if wait is not None else ""
    return NotYet(f"{generation.id} is {generation.state} and has no assets yet{why}")


def _not_stored(asset: Asset) -> NotFound | NotYet:
    which = f"asset {asset.index} of {asset.generation_id}"
    why = f": {asset.reason}: {redact(asset.error)}" if asset.reason and asset.error else ""
    if asset.state is AssetState.WAITING:
        return NotYet(f"{which} is not stored yet{why}; it is tried {_when(asset.not_before)}")
    return NotFound(f"{which} was abandoned{why}; retrying its generation asks the provider for it again")


def _when(at: datetime | None) -> str:
    return "as soon as a worker is free" if at is None else f"again at {iso(at)}"
