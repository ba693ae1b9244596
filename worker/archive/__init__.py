"""The archive: our copy of every asset, in an S3 bucket. Where an object lies, and what is written down beside it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import IO, Protocol
from urllib.parse import urlsplit

from worker.archive.keeping import Keeping
from worker.archive.keys import Keys
from worker.archive.names import readable_name
from worker.archive.objects import Listed, StoredAsset, Verdict
from worker.generation import Asset, Generation
from worker.redaction import shorten_files

__all__ = ["Archive", "Keeping", "Keys", "Listed", "StoredAsset", "Verdict", "open_archive", "readable_name", "sidecar"]

_SIDECAR_SCHEMA = 1


class Archive(Protocol):
    """A bucket. Raises ArchiveError where trying again may help, ConfigurationError where only a person can."""

    bucket: str
    keys: Keys

    def store(
        self,
        key: str,
        file: IO[bytes],
        *,
        sha256: str,
        size: int,
        content_type: str,
        metadata: Mapping[str, str],
        filename: str,
        tags: Mapping[str, str],
    ) -> StoredAsset:
        """Put the whole file under the key, in parts if it is large; the same bytes a second time change nothing.

        `filename` is what a browser saves it under; `tags`, at most 10, are lost on a store that refuses them. Raises
        ArchiveConflict if other bytes lie there, in a bucket that honours `If-None-Match`; others overwrite.
        """

    def overwrite(self, key: str, content: bytes, *, content_type: str, metadata: Mapping[str, str]) -> StoredAsset:
        """Put a small object, whatever lies under the key: for sidecars."""

    def url(self, key: str, *, expires: timedelta = ...) -> str:
        """A link that anybody can fetch the object with until it expires, at most 7 days; a secret, never stored."""

    def verify(self, key: str, sha256: str) -> Verdict:
        """Read the object again and compare its hash."""

    def list(self, prefix: str) -> Iterator[Listed]:
        """Every object whose key starts so, in order of keys, a thousand at a time; no folders are known to it."""

    def read(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        """The bytes of an object in small pieces, for a `with` block. Raises NotFound if nothing lies there."""

    def close(self) -> None:
        """Close the connections that are kept for later."""

    def check(self) -> None:
        """Raise ConfigurationError with one clear sentence unless the bucket is there and answers to us."""

    def probe(self) -> Sequence[str]:
        """Put, read and delete an object, and say what the bucket does not honour: sentences without their subject."""


def open_archive(bucket: str, keys: Keys, keeping: Keeping) -> Archive:
    """The bucket of this process; its credentials, region and endpoint come from the standard `AWS_*` environment."""
    # boto3 takes a quarter of a second to import, which commands that need no bucket do not pay.
    from worker.archive.s3 import S3Archive  # noqa: PLC0415

    return S3Archive(bucket, keys, keeping)


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
        "options": shorten_files(generation.options),
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
                "seconds": asset.seconds,
                "source": _unsigned(asset.url),
            }
            for asset in sorted(assets, key=lambda asset: asset.index)
        ],
    }
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True)
    # A lone surrogate has no UTF-8 form, but its backslash escape is JSON.
    return f"{text}\n".encode(errors="backslashreplace")


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
