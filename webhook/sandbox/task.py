"""One accepted submission, and the two things that it refers to: how it failed and who writes about it."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from webhook.sandbox.pictures import Picture


class Dialect(Protocol):
    """How one provider writes."""

    def callback_body(self, task: "Task", progress: int) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Failure:
    code: str
    message: str


#: both are documented: a bad argument in the prompt, found only after the submission was accepted, and a plain error
FAILURES = (
    Failure("bad_request", "Unrecognized argument(s): `-c`, `x`"),
    Failure("api_error", "fetch failed"),
)


@dataclass(slots=True, eq=False)
class Task:
    """One accepted submission. The studio alone changes it, and only its last block."""

    dialect: Dialect
    request: Mapping[str, Any]
    action: str
    prompt: str
    picture: Picture
    trace_id: str
    image_id: str
    base_url: str
    callback_url: str | None
    streams: bool
    knobs: frozenset[str]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created_at: float = field(default_factory=time.time)

    finished_at: float | None = None
    failure: Failure | None = None
    progress_ids: dict[int, str] = field(default_factory=dict)
    links_given: bool = False

    @property
    def tiny(self) -> bool:
        return self.picture.prompt.startswith("tiny:")
