"""Facts about objects in the bucket."""

from dataclasses import dataclass, field
from enum import StrEnum


class Verified(StrEnum):
    """How the bytes in the bucket were verified against those sent."""

    #: the store accepted the bytes together with their SHA-256
    CHECKSUM = "checksum"
    #: the store's ETag is the MD5 of the bytes
    ETAG = "etag"
    #: the store's own SHA-256 of the object matches
    HEAD = "head"
    #: the object was read back
    BYTES = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAsset:
    """An object in the bucket; `sha256` in hexadecimal, `bytes` is its size."""

    object_key: str
    sha256: str
    bytes: int
    content_type: str
    #: not a property of the object: the same bytes may be verified in several ways
    verified: Verified | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """An object in a listing of the bucket; `bytes` is its size."""

    object_key: str
    bytes: int


class Verdict(StrEnum):
    """The result of reading an object back."""

    INTACT = "intact"
    #: the object exists, but its bytes differ from those stored
    CHANGED = "changed"
    MISSING = "missing"


class StoreLimit(str):
    """A limit of the store that nobody can change; other shortcomings can be fixed by a setting or a person."""

    __slots__ = ()
