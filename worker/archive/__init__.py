"""The archive: our copy of every asset, in an S3 bucket. Where an object lies, and what is written down beside it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import IO, Protocol

from worker.archive.documents import SHOWN, of_asset, of_event, of_generation
from worker.archive.keeping import Addressing, Keeping
from worker.archive.keys import DEFAULT_TEMPLATE, Keys, KeyTemplate, Kind
from worker.archive.names import readable_name
from worker.archive.objects import Listed, StoredAsset, StoreLimit, Verdict, Verified
from worker.archive.sidecars import manifest_line, sidecar

__all__ = [
    "DEFAULT_TEMPLATE",
    "SHOWN",
    "Addressing",
    "Archive",
    "Keeping",
    "KeyTemplate",
    "Keys",
    "Kind",
    "Listed",
    "StoreLimit",
    "StoredAsset",
    "Verdict",
    "Verified",
    "manifest_line",
    "of_asset",
    "of_event",
    "of_generation",
    "open_archive",
    "readable_name",
    "sidecar",
]


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
        replace: bool = False,
    ) -> StoredAsset:
        """Put the whole file under the key, in parts if it is large; the same bytes a second time change nothing.

        What comes back says how it was seen that the bytes are there. `filename` is what a browser saves it under;
        `tags`, at most 10, are lost on a store that refuses them. Raises ArchiveConflict if other bytes lie there, in a
        bucket that honours `If-None-Match`; others overwrite. With `replace` it is put whatever lies there.
        """

    def overwrite(self, key: str, content: bytes, *, content_type: str, metadata: Mapping[str, str]) -> StoredAsset:
        """Put a small object, whatever lies under the key: for sidecars."""

    def url(self, key: str, *, expires: timedelta = ...) -> str:
        """A link that anybody can fetch the object with until it expires, at most 7 days; a secret, never stored."""

    def delete(self, key: str, sha256: str | None = None) -> None:
        """Delete the object, or only what was stored as these bytes; what is not there is deleted already.

        A bucket with versions keeps the old ones.
        """

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


def open_archive(bucket: str, keys: Keys, keeping: Keeping, addressing: Addressing = "auto") -> Archive:
    """The bucket of this process; its credentials, region and endpoint come from the standard `AWS_*` environment."""
    # boto3 takes a quarter of a second to import, which commands that need no bucket do not pay.
    from worker.archive.s3 import S3Archive  # noqa: PLC0415

    return S3Archive(bucket, keys, keeping, addressing=addressing)
