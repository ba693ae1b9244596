"""Finds a result that is in the bucket but not in the ledger: its worker died too early, or a backup was restored."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from tempfile import SpooledTemporaryFile
from typing import Any

from tasks.refused import facts_of_refused
from tasks.storing import measured
from worker.archive import Verified
from worker.downloads import MEMORY_PART
from worker.errors import ArchiveError, ContentInvalid, NotFound
from worker.generation import Asset
from worker.ledger.assets import ArchiveClaim, Stored
from worker.media import inspect
from worker.services import Services


class NotOurs(Exception):
    """The object in a result's place cannot be shown to be that result; the text says why."""


@dataclass(frozen=True, slots=True)
class _Note:
    """What was recorded when an object was stored: its generation, and the hash of its bytes."""

    generation_id: str | None = None
    sha256: str | None = None
    #: of the bytes that were downloaded
    source_sha256: str | None = None


def stored_before(here: Services, claim: ArchiveClaim, asset: Asset) -> Stored | None:
    """Return the result as it was stored under its own key; None if there is no object.

    Raises NotOurs if there is a different object; ArchiveError or ConfigurationError if the bucket cannot be read;
    DownloadError if the decoder was not available.
    """
    stem = here.archive.keys.stem(claim.generation, claim.lineage, asset.index)
    # Skip its thumbnail.
    keys = [one.object_key for one in here.archive.list(stem) if one.object_key.removeprefix(stem).isalnum()]
    why = []
    for key in keys:
        try:
            return _checked(here, claim, asset, key, is_alone=len(keys) == 1)
        except NotFound as error:
            # The store may be eventually consistent. A deleted object is not listed the next time.
            raise ArchiveError(f'"{key}" is listed, but cannot be read: {error}') from error
        except NotOurs as error:
            why.append(f'"{key}" is in the bucket, but {error}')
    if why:
        raise NotOurs("; ".join(why))
    return None


def _checked(here: Services, claim: ArchiveClaim, asset: Asset, key: str, *, is_alone: bool) -> Stored:
    note = _note(here, claim, key, is_alone=is_alone)
    if note.generation_id is None:
        raise NotOurs("nothing shows that it belongs to this generation")
    if note.generation_id != claim.generation.id:
        raise NotOurs(f"it belongs to {note.generation_id}")
    with SpooledTemporaryFile(MEMORY_PART) as file:
        with here.archive.read(key) as pieces:
            for piece in pieces:
                file.write(piece)
        file.seek(0)
        sha256, size = measured(file)
        if note.sha256 not in (None, sha256):
            raise NotOurs("it has different bytes than were stored")
        accepted = asset.refused if asset.accepted and asset.refused and asset.refused.sha256 == sha256 else None
        try:
            facts = inspect(file, asset.kind) if accepted is None else facts_of_refused(file, accepted.type)
        except ContentInvalid as error:
            if note.sha256 is None:
                raise NotOurs(str(error)) from error
            # These bytes were checked before they were stored, or a person accepted them; the decoder may have run out
            # of time.
            facts = replace(facts_of_refused(file, None), remark=f"taken as it was stored, although {error}")
    if not key.endswith(f".{facts.extension}"):
        raise NotOurs(f"it is {facts.content_type}")
    return Stored(
        index=asset.index,
        object_key=key,
        sha256=sha256,
        bytes=size,
        content_type=facts.content_type,
        width=facts.width or None,
        height=facts.height or None,
        seconds=facts.seconds,
        source_sha256=note.source_sha256 if note.source_sha256 != sha256 else None,
        verified=Verified.BYTES,
        remark=facts.remark,
        accepted=accepted is not None,
        found=True,
    )


def _note(here: Services, claim: ArchiveClaim, key: str, *, is_alone: bool) -> _Note:
    """Read the object's metadata, else its sidecar: a store may lose metadata, as the embedded one does on exit."""
    metadata, listed = here.archive.metadata(key), _sidecar(here, claim)
    owner, sha256 = metadata.get("generation-id"), metadata.get("sha256")
    if owner is not None:
        beside = (listed or {}).get(key, _Note())
        return beside if (beside.generation_id, beside.sha256) == (owner, sha256) else _Note(owner, sha256)
    if listed is not None:
        return listed.get(key, _Note())
    # A folder named by its id belongs to no other generation; but of several objects there, one may be a person's copy.
    return _Note(claim.generation.id) if is_alone and claim.generation.id in key.split("/") else _Note()


def _sidecar(here: Services, claim: ArchiveClaim) -> Mapping[str, _Note] | None:
    """Return what the sidecar lists, by key; None if there is none or somebody has changed it."""
    try:
        with here.archive.read(here.archive.keys.sidecar(claim.generation, claim.lineage)) as pieces:
            document: Mapping[str, Any] = json.loads(b"".join(pieces))
        owner = str(document["id"])
        return {
            str(one["object_key"]): _Note(owner, one["sha256"], one.get("source_sha256")) for one in document["assets"]
        }
    except (NotFound, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
