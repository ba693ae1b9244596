"""Facts about objects in the bucket."""

from dataclasses import dataclass, field
from enum import StrEnum


class Verified(StrEnum):
    """How it was verified that the bucket has the bytes that were sent."""

    #: the store accepted them together with their SHA-256
    CHECKSUM = "checksum"
    #: the store's ETag is their MD5
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
    #: the object exists, but has other bytes than were stored
    CHANGED = "changed"
    MISSING = "missing"


class StoreLimit(str):
    """What a store does not honour and nobody can change; whatever else it does not, a setting or a person can."""

    __slots__ = ()
