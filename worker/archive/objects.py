"""What is known about an object in the bucket."""

from dataclasses import dataclass, field
from enum import StrEnum


class Verified(StrEnum):
    """What has shown that the bytes in the bucket are those that were sent."""

    #: the store took them together with their SHA-256
    CHECKSUM = "checksum"
    #: the store's ETag is their MD5
    ETAG = "etag"
    #: the store's own SHA-256 of the object is theirs
    HEAD = "head"
    #: the object was read again
    BYTES = "bytes"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAsset:
    """An object that lies in the bucket; `sha256` in hexadecimal, `bytes` its size."""

    object_key: str
    sha256: str
    bytes: int
    content_type: str
    #: not a property of the object: the same bytes may be seen there in several ways
    verified: Verified | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing of the bucket tells it; `bytes` its size."""

    object_key: str
    bytes: int


class Verdict(StrEnum):
    """What reading an object again has shown."""

    INTACT = "intact"
    #: the object is there, but its bytes are not those that were stored
    CHANGED = "changed"
    MISSING = "missing"


class StoreLimit(str):
    """What a store does not honour and nobody can change; whatever else it does not, a setting or a person can."""

    __slots__ = ()
