"""Stores assets in the bucket: key, tags, optional provenance mark, deduplication."""

import hashlib
import io
import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import IO, Any, Protocol

from worker.archive import StoredAsset, Verdict, Verified, readable_name
from worker.generation import Generation
from worker.ledger.assets import ArchiveClaim, Stored
from worker.media import FileFacts, marked
from worker.services import Services


class Measured(Protocol):
    """A file at its beginning, with its SHA-256 and size."""

    @property
    def file(self) -> IO[bytes]: ...
    @property
    def sha256(self) -> str: ...
    @property
    def bytes(self) -> int: ...


def keep_file(
    here: Services, claim: ArchiveClaim, index: int, found: Measured, facts: FileFacts, *, accepted: bool = False
) -> Stored:
    """Store a file that was checked, or `accepted` by a person; `facts` are the results of the check."""
    key = here.archive.keys.asset(claim.generation, claim.lineage, index, facts.extension)
    with ExitStack() as files:
        file, sha256, size = found.file, found.sha256, found.bytes
        # An accepted file is stored unchanged.
        if here.settings.darkroom_provenance == "xmp" and not accepted:
            copy = marked(file, facts.content_type, claim.generation.id)
            if copy is not None:
                file = files.enter_context(copy)
                sha256, size = measured(file)
        stored = _keep(
            here,
            claim,
            index,
            StoredAsset(object_key=key, sha256=sha256, bytes=size, content_type=facts.content_type),
            file,
        )
    return Stored(
        index=index,
        object_key=stored.object_key,
        sha256=stored.sha256,
        bytes=stored.bytes,
        content_type=stored.content_type,
        # Unknown for accepted files.
        width=facts.width or None,
        height=facts.height or None,
        seconds=facts.seconds,
        source_sha256=found.sha256 if stored.sha256 != found.sha256 else None,
        verified=stored.verified,
        remark=facts.remark,
        accepted=accepted,
    )


def keep_text(here: Services, claim: ArchiveClaim, index: int, content: Mapping[str, Any]) -> Stored:
    body = text_file(content)
    key = here.archive.keys.asset(claim.generation, claim.lineage, index, "json")
    asset = StoredAsset(
        object_key=key, sha256=hashlib.sha256(body).hexdigest(), bytes=len(body), content_type="application/json"
    )
    stored = _keep(here, claim, index, asset, io.BytesIO(body))
    return Stored(
        index=index,
        object_key=stored.object_key,
        sha256=stored.sha256,
        bytes=stored.bytes,
        content_type=stored.content_type,
        verified=stored.verified,
    )


def text_file(content: Mapping[str, Any]) -> bytes:
    """Return the object for a text result."""
    return f"{json.dumps(content, ensure_ascii=False, indent=2)}\n".encode(errors="backslashreplace")


def _keep(here: Services, claim: ArchiveClaim, index: int, asset: StoredAsset, file: IO[bytes]) -> StoredAsset:
    if here.settings.darkroom_deduplicate and (copy := _intact_copy(here, asset.sha256)):
        return copy
    return put(here, claim.generation, asset, file, index=index, batch=claim.lineage.batch)


def _intact_copy(here: Services, sha256: str) -> StoredAsset | None:
    """Return another generation's object with these bytes, if it still matches the ledger."""
    copy = here.ledger.assets.first_copy(sha256)
    if copy is None or here.archive.verify(copy.object_key, sha256) is not Verdict.INTACT:
        return None
    return StoredAsset(
        object_key=copy.object_key,
        sha256=sha256,
        bytes=copy.bytes,
        content_type=copy.content_type,
        verified=Verified.BYTES,
    )


def put(
    here: Services,
    generation: Generation,
    asset: StoredAsset,
    file: IO[bytes],
    *,
    index: int,
    batch: str | None,
    replace: bool = False,
) -> StoredAsset:
    """Store an asset under its key; with `replace`, overwrite the object there."""
    tags = {"generation": generation.id, "provider": generation.provider, "operation": generation.operation}
    if batch is not None:
        tags["batch"] = batch
    return here.archive.store(
        asset.object_key,
        file,
        sha256=asset.sha256,
        size=asset.bytes,
        content_type=asset.content_type,
        metadata={"generation-id": generation.id},
        filename=readable_name(generation.prompt or generation.operation, index, asset.object_key.rpartition(".")[2]),
        tags=tags,
        replace=replace,
    )


def measured(file: IO[bytes]) -> tuple[str, int]:
    """Return SHA-256 and size of a file from its position to the end, then seek back."""
    begin = file.tell()
    digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
    size = file.tell() - begin
    file.seek(0)
    return digest.hexdigest(), size
