"""The archive: our copy of every asset in an S3 bucket, with its keys and sidecars."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import IO, Protocol

from worker.archive.documents import KEPT, SHOWN, of_asset, of_generation
from worker.archive.escapes import bytes_of, cut_escaped, first_words, marked_digest
from worker.archive.keeping import Addressing, Keeping
from worker.archive.key_template import DEFAULT_TEMPLATE, KeyTemplate
from worker.archive.keys import RESULT_FORMATS, Keys, Kind
from worker.archive.names import readable_name
from worker.archive.objects import Listed, StoredAsset, StoreLimit, Verdict, Verified
from worker.archive.sidecars import manifest_line, sidecar

__all__ = [
    "DEFAULT_TEMPLATE",
    "KEPT",
    "RESULT_FORMATS",
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
    "bytes_of",
    "cut_escaped",
    "first_words",
    "manifest_line",
    "marked_digest",
    "of_asset",
    "of_generation",
    "open_archive",
    "readable_name",
    "sidecar",
]


class Archive(Protocol):
    """A bucket. Raises ArchiveError if retrying may help, ConfigurationError if a person has to act."""

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
        """Store the whole file under the key, in parts if it is large. Storing the same bytes again changes nothing.

        The result states how the bytes were verified. `filename` is the name that a browser suggests when saving;
        `tags`, at most 10, are dropped if the store refuses them. Raises ArchiveConflict if the key already holds
        different bytes and the bucket honors `If-None-Match`; other buckets overwrite. `replace` always overwrites.
        """

    def overwrite(self, key: str, content: bytes, *, content_type: str, metadata: Mapping[str, str]) -> StoredAsset:
        """Store a small object, such as a sidecar, overwriting any object under the key."""

    def url(self, key: str, *, expires: timedelta = ...) -> str:
        """Return a public link to the object, valid for at most 7 days. The link is a secret and is never stored."""

    def delete(self, key: str, sha256: str | None = None) -> None:
        """Delete the object (with `sha256`, only if it has that hash). A missing object counts as deleted.

        A versioned bucket keeps the old versions.
        """

    def verify(self, key: str, sha256: str) -> Verdict:
        """Read the object and compare its hash with `sha256`."""

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield every object with this key prefix in key order, a thousand per request."""

    def read(self, key: str) -> AbstractContextManager[Iterator[bytes]]:
        """Yield the bytes of an object in small pieces, in a `with` block. Raises NotFound if there is no object."""

    def metadata(self, key: str) -> Mapping[str, str]:
        """Return the metadata of an object, with lower-case names; empty if the store kept none.

        Raises NotFound if there is no object.
        """

    def close(self) -> None:
        """Close idle connections."""

    def check(self) -> None:
        """Raise ConfigurationError with one clear sentence unless the bucket exists and grants access."""

    def probe(self) -> Sequence[str]:
        """Put, read and delete an object; return what the bucket does not support, as sentences without a subject."""


def open_archive(bucket: str, keys: Keys, keeping: Keeping, addressing: Addressing = "auto") -> Archive:
    """Open this process's bucket, with credentials, region and endpoint from the standard `AWS_*` variables."""
    # Importing boto3 takes a quarter of a second; commands that use no bucket should not pay for it.
    from worker.archive.s3 import S3Archive  # noqa: PLC0415

    return S3Archive(bucket, keys, keeping, addressing=addressing)
