"""What is known about an object in the bucket."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """An object that lies in the bucket; `sha256` in hexadecimal, `bytes` its size."""

    key: str
    sha256: str
    bytes: int
    content_type: str


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing of the bucket tells it; `bytes` its size."""

    key: str
    bytes: int


class Verdict(StrEnum):
    """What reading an object again has shown."""

    INTACT = "intact"
    #: the object is there, but its bytes are not those that were stored
    CHANGED = "changed"
    MISSING = "missing"
