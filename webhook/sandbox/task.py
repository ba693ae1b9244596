"""One accepted submission, its result files, its failures, and what it needs from its vendor."""

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
    """What a running task needs from its vendor; `Dialect` adds the wire format."""

    #: the name in bill, journal and page
    name: ClassVar[str]
    #: the percentages of the progress callbacks of a task that streams
    stages: ClassVar[tuple[int, ...]] = ()
    #: the failures, used in turn
    failures: ClassVar[tuple[Failure, ...]]
    #: seconds before each retry of a callback that did not get a 200
    retry_pauses: ClassVar[tuple[float, ...]] = ()

    def __init__(self) -> None:
        self._failures = itertools.cycle(self.failures)

    def next_failure(self) -> Failure:
        return next(self._failures)

    @abstractmethod
    def callback_body(self, task: Any, progress: int) -> Any:
        """The body that is posted at a stage, or, at 100, at the end. `task` is the vendor's own."""

    def callback_headers(self, task: Any) -> Mapping[str, str]:  # noqa: ARG002
        """Return the headers in addition to the content type, for each try."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a result, rendered on each request for `path`.

    `share` is its side as a fraction of the sandbox's image side. A file with `progress` below 100 is a preview,
    deleted when the task finishes. A file that is not `signed` has an unsigned link.
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

    `action` is the vendor's word, `text` is the result of a task without files, `names` are further ids. `streams`:
    send a callback for each stage of the dialect. Only the engine changes the last block.
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

    #: of the account that is charged
    key: str | None = None
    progress: int = 0
    finished_at: float | None = None
    failure: Failure | None = None
    times_given: int = 0

    @property
    def tiny(self) -> bool:
        return self.picture.prompt.startswith("tiny:")
