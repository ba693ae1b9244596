"""A generation that does not exist yet: as requested, and as written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypedDict

from worker.generation import GenerationRequest
from worker.recipes import Recipe
from worker.subscribers import NotifyAddress

#: the prefix of every test's `dedupe`, and of no other
_OF_TESTS = "test:"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGeneration:
    """`dedupe` makes repeated creation idempotent; `key` is the user's key.

    `input` and `row_…`: from the user's file, see `schema/tables.py`; `providers`: where it may go instead; `labels`:
    name → value, in addition to its parent's; `inputs`: digests of the files in the bucket that its options refer to.
    `is_test`: only the sandbox makes it; follow-ups of a test are tests, too. `recipe`: the recipe that it follows;
    `step`: the step of the recipe that made it; `created_by`: who requested it, if its history shows that. `notify`:
    where its events and its follow-ups' events go.
    """

    provider: str
    request: GenerationRequest
    key: str | None = None
    dedupe: str | None = None
    priority: int = 0
    follow_up: tuple[str, ...] = ()
    parent_id: str | None = None
    depth: int = 0
    batch_id: str | None = None
    input: Mapping[str, object] = field(default_factory=dict)
    row_number: int | None = None
    row_sha256: str | None = None
    row_version: int = 1
    providers: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    is_test: bool = False
    created_by: str | None = None
    recipe: Recipe | None = None
    step: str | None = None
    notify: NotifyAddress | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # The same key may belong to a test and to a generation that is paid for.
        if self.is_test and self.dedupe is not None and not self.dedupe.startswith(_OF_TESTS):
            object.__setattr__(self, "dedupe", f"{_OF_TESTS}{self.dedupe}")


class NewRow(TypedDict):
    """The row of a new generation."""

    id: str
    batch_id: str | None
    parent_id: str | None
    depth: int
    provider: str
    operation: str
    action: str | None
    prompt: str
    options: Mapping[str, object]
    speed: str | None
    version: str | None
    extras: Sequence[str]
    follow_up: Sequence[str]
    priority: int
    turn: int
    pinned: str
    key: str | None
    dedupe: str | None
    state: str
    tries: int
    actions: Sequence[str]
    parent_handle: Mapping[str, str]
    handle: Mapping[str, str]
    followed_up_at: datetime | None
    created_at: datetime
    updated_at: datetime
    input: Mapping[str, object] | None
    row_number: int | None
    row_sha256: str | None
    row_version: int | None
    providers: Sequence[str] | None
    provider_changes: None
    recipe: str | None
    recipe_name: str | None
    step: str | None
    followed_failure_at: datetime | None
    followed_success_at: datetime | None
    followed_archive_at: datetime | None


#: the row to write, and what it was made from
New = tuple[NewRow, NewGeneration]
