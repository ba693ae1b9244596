"""The archive: our copy of every asset, in an S3 bucket. Where an object lies, and what is written down beside it."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import IO, Protocol
from urllib.parse import urlsplit

from worker.generation import Asset, Generation

_SIDECAR_NAME = "generation.json"
_SIDECAR_SCHEMA = 1

_NO_BATCH = "single"
#: characters; two slugs, a prefix and the rest stay far below the 1,024 bytes that S3 allows a key
_SLUG_LIMIT = 80
#: a slug that says exactly what the caller said
_FAITHFUL = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
#: hexadecimal digits that tell apart the texts that one slug cannot
_DIGEST_LENGTH = 16
_DIGEST_SUFFIX = re.compile(rf"-[0-9a-f]{{{_DIGEST_LENGTH}}}$")


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """An object that lies in the bucket; `sha256` in hexadecimal, `bytes` its size."""

    key: str
    sha256: str
    bytes: int
    content_type: str


class Verdict(StrEnum):
    """What reading an object again has shown."""

    INTACT = "intact"
    #: the object is there, but its bytes are not those that were stored
    CHANGED = "changed"
    MISSING = "missing"


class Archive(Protocol):
    """A bucket. Raises ArchiveError where trying again may help, ConfigurationError where only a person can."""

    bucket: str
    #: what every key starts with; give it to `object_key` and `sidecar_key`
    prefix: str

    def store(
        self, key: str, file: IO[bytes], *, sha256: str, size: int, content_type: str, metadata: Mapping[str, str]
    ) -> StoredAsset:
        """Put the whole file under the key; the same bytes a second time change nothing.

        Raises ArchiveConflict if other bytes lie there, in a bucket that honours `If-None-Match`; others overwrite.
        """

    def overwrite(self, key: str, content: bytes, *, content_type: str, metadata: Mapping[str, str]) -> StoredAsset:
        """Put a small object, whatever lies under the key: for sidecars."""

    def url(self, key: str, *, expires: timedelta = ...) -> str:
        """A link that anybody can fetch the object with until it expires, at most 7 days; a secret, never stored."""

    def verify(self, key: str, sha256: str) -> Verdict:
        """Read the object again and compare its hash."""

    def close(self) -> None:
        """Close the connections that are kept for later."""

    def check(self) -> None:
        """Raise ConfigurationError with one clear sentence unless the bucket is there and answers to us."""


def open_archive(bucket: str, prefix: str) -> Archive:
    """The bucket of this process; its credentials, region and endpoint come from the standard `AWS_*` environment."""
    # boto3 takes a quarter of a second to import, which commands that need no bucket do not pay.
    from worker.archive.s3 import S3Archive  # noqa: PLC0415

    return S3Archive(bucket, prefix)


def object_key(  # noqa: PLR0917 (the parts in the order in which the key has them)
    prefix: str, created_at: datetime, batch: str | None, name: str, index: int, extension: str
) -> str:
    """Where an asset lies; `name` is the caller's own key or the generation's id, `extension` ours and without its dot.

    The same generation always gives the same key, so a repeated store finds what an interrupted one left.
    """
    return f"{_folder(prefix, created_at, batch, name)}/{index}.{extension}"


def sidecar_key(prefix: str, created_at: datetime, batch: str | None, name: str) -> str:
    """Where the sidecar of a generation lies: beside its assets."""
    return f"{_folder(prefix, created_at, batch, name)}/{_SIDECAR_NAME}"


def sidecar(generation: Generation, assets: Sequence[Asset]) -> bytes:
    """What a person or a program without our ledger needs to know about the objects beside it, as JSON.

    The same facts always give the same bytes. Links lose everything that is a signature.
    """
    document = {
        "schema": _SIDECAR_SCHEMA,
        "id": generation.id,
        "custom_key": generation.key,
        "batch": generation.batch_id,
        "parent": generation.parent_id,
        "depth": generation.depth,
        "provider": generation.provider,
        "task_id": generation.task_id,
        "operation": generation.operation,
        "action": generation.action,
        "prompt": generation.prompt,
        "options": dict(generation.options),
        "priority": generation.priority,
        "created_at": _iso(generation.created_at),
        "submitted_at": _iso(generation.submitted_at),
        "finished_at": _iso(generation.finished_at),
        "assets": [
            {
                "index": asset.index,
                "key": asset.key,
                "sha256": asset.sha256,
                "bytes": asset.bytes,
                "content_type": asset.content_type,
                "width": asset.width,
                "height": asset.height,
                "source": _unsigned(asset.url),
            }
            for asset in sorted(assets, key=lambda asset: asset.index)
        ],
    }
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True)
    # A lone surrogate has no UTF-8 form, but its backslash escape is JSON.
    return f"{text}\n".encode(errors="backslashreplace")


def _folder(prefix: str, created_at: datetime, batch: str | None, name: str) -> str:
    day = f"{created_at.astimezone(UTC):%Y/%m/%d}"
    parts = (prefix.strip("/"), day, _NO_BATCH if batch is None else _slug(batch), _slug(name))
    return "/".join(part for part in parts if part)


def _slug(text: str) -> str:
    """Text of a caller as one harmless path segment; different texts give different segments."""
    faithful = len(text) <= _SLUG_LIMIT and _FAITHFUL.fullmatch(text)
    # What looks like the name of another folder is told apart from it like everything else.
    if faithful and text != _NO_BATCH and not _DIGEST_SUFFIX.search(text):
        return text
    folded = unicodedata.normalize("NFKD", text).casefold().encode("ascii", "ignore").decode("ascii")
    words = re.sub(r"[^a-z0-9._-]+", "-", folded).lstrip(".-")[: _SLUG_LIMIT - 1 - _DIGEST_LENGTH].rstrip(".-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    return f"{words or 'unnamed'}-{digest}"


def _iso(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def _unsigned(url: str) -> str | None:
    """A web link without user, query and fragment, where signatures are; None for what is no web link."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"}:
        return None
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
