"""One accepted submission, the files that come of it, how it may fail, and what it asks of its vendor on the way."""

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from webhook.sandbox.pictures import Picture


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    message: str


class Vendor(ABC):
    """What the course of a task needs of whoever accepted it; how that one talks to its clients is a `Dialect`."""

    #: in bill, journal and page
    name: ClassVar[str]
    #: the progress (per cent) that is told before the end when a task streams
    stages: ClassVar[tuple[int, ...]] = ()
    #: how generations fail, in turn
    failures: ClassVar[tuple[Failure, ...]]
    #: seconds before each further try of a callback that was not answered with 200
    retry_pauses: ClassVar[tuple[float, ...]] = ()

    def __init__(self) -> None:
        self._failures = itertools.cycle(self.failures)

    def next_failure(self) -> Failure:
        return next(self._failures)

    @abstractmethod
    def callback_body(self, task: Any, progress: int) -> Any:
        """What is posted at one of the stages, or, at 100, in the end. `task`: one of its own."""

    def callback_headers(self, task: Any) -> Mapping[str, str]:  # noqa: ARG002
        """Besides the content type; asked for each try."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
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

    dialect: Vendor
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
