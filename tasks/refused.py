"""Refused files: kept for review, and archived unchanged once a person has accepted them."""

import logging
from tempfile import SpooledTemporaryFile
from typing import IO

from tasks.storing import keep_file, measured
from worker.downloads import MEMORY_PART, Download
from worker.errors import ArchiveError, ConfigurationError, NotFound
from worker.generation import Asset, Refused
from worker.ledger.assets import ArchiveClaim, Stored
from worker.media import FileFacts, content_type_of
from worker.services import Services

log = logging.getLogger(__name__)

_UNKNOWN = "application/octet-stream"
#: content types that a person may accept; none that a browser would execute, such as HTML and SVG
_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "video/matroska": "mkv",
}


def set_aside(
    here: Services, claim: ArchiveClaim, asset: Asset, download: Download, why: str
) -> tuple[Refused | None, str]:
    """Keep a refused file for review; return what is kept, and a sentence saying where it is or why it is not kept."""
    generation_id = claim.generation.id
    key = here.archive.keys.rejected(generation_id, asset.index)
    aside = f"file kept under {key}; after a review, `darkroom accept {generation_id}/{asset.index}` archives it"
    there = asset.refused
    if there is not None and there.sha256 == download.sha256 and asset.accepted is None:
        return there, aside
    room = here.settings.darkroom_rejected_gb * 1e9 + (there.bytes if there else 0)
    if here.ledger.assets.refused_bytes() + download.bytes > room:
        full = f"{here.settings.darkroom_rejected_gb:g} GB of refused files are already kept (DARKROOM_REJECTED_GB)"
        return (
            None,
            f"the file is not kept: {full}; `darkroom accept` and `darkroom delete --objects` make room",
        )
    download.file.seek(0)
    try:
        here.archive.store(
            key,
            download.file,
            sha256=download.sha256,
            size=download.bytes,
            content_type=_UNKNOWN,
            metadata={"generation-id": generation_id},
            filename=f"{generation_id}-{asset.index}.bin",
            tags={},
            replace=True,
        )
    except (ArchiveError, ConfigurationError) as error:
        return None, f"could not keep the file: {error}"
    return Refused(download.bytes, download.sha256, download.declared_type, why), aside


def keep_accepted(here: Services, claim: ArchiveClaim, asset: Asset) -> Stored | None:
    """Archive the file that a person has accepted; None if it is no longer kept or has changed."""
    refused = asset.refused
    if refused is None:
        return None
    with SpooledTemporaryFile(MEMORY_PART) as file:
        try:
            with here.archive.read(here.archive.keys.rejected(claim.generation.id, asset.index)) as pieces:
                for piece in pieces:
                    file.write(piece)
        except NotFound:
            return None
        file.seek(0)
        if measured(file)[0] != refused.sha256:
            # These are not the bytes that the person saw.
            return None
        facts = facts_of_refused(file, refused.type)
        download = Download(file=file, sha256=refused.sha256, bytes=refused.bytes, declared_type=refused.type)
        return keep_file(here, claim, asset.index, download, facts, accepted=True)


def facts_of_refused(file: IO[bytes], said: str | None) -> FileFacts:
    """Return the known facts of an unchecked refused file, and rewind it; `said`: the type that its server named."""
    file.seek(0)
    kind = kind_of(file.read(64), said)
    file.seek(0)
    return FileFacts(content_type=kind, extension=_EXTENSIONS.get(kind, "bin"), width=0, height=0)


def forget_refused(here: Services, asset: Asset) -> None:
    try:
        here.archive.delete(here.archive.keys.rejected(asset.generation_id, asset.index))
    except (ArchiveError, ConfigurationError) as error:
        # `darkroom verify` lists the leftovers.
        log.warning("could not delete the refused file of %s, which is now stored: %s", asset.generation_id, error)


def kind_of(head: bytes, said: str | None) -> str:
    """Return the content type of a refused file: by its first bytes, else the server's if that is harmless."""
    told = (said or "").partition(";")[0].strip().lower()
    return content_type_of(head) or (told if told in _EXTENSIONS else _UNKNOWN)
