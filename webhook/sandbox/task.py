"""One accepted submission, the files that come of it, and how it may fail."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from webhook.sandbox.pictures import Picture

if TYPE_CHECKING:
    from webhook.sandbox.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class File:
    """One file of a result, rendered from its picture whenever somebody asks for `path`.

    `share` is its side as a part of the side that the sandbox draws. One whose `progress` is below 100 is a preview,
    which is gone when the task is finished. One that is not `signed` has a bare link.
    """

    path: str
    picture: Picture
    mimetype: str = "image/png"
    share: float = 1.0
    progress: int = 100
    signed: bool = True


@dataclass(slots=True, eq=False, kw_only=True)
class Task:
    """One accepted submission; a dialect adds its own fields in a subclass.

    `action` is the vendor's word, `text` what a task without files gives, `names` are what else it is found by besides
    `id`. `streams` says whether the stages of the dialect are told. The studio alone changes the last block.
    """

    dialect: "Dialect[Any]"
    id: str
    request: Mapping[str, Any]
    action: str
    prompt: str
    picture: Picture
    base_url: str
    callback_url: str | None
    knobs: frozenset[str]
    files: tuple[File, ...] = ()
    previews: tuple[File, ...] = ()
    text: Any = None
    names: tuple[str, ...] = ()
    streams: bool = False
    created_at: float = field(default_factory=time.time)

    #: of the account that pays
    key: str | None = None
    progress: int = 0
    finished_at: float | None = None
    failure: Failure | None = None
    times_given: int = 0

    @property
    def tiny(self) -> bool:
        return self.picture.prompt.startswith("tiny:")
