"""One generation that is asked for, and where it stands in what was handed in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from worker.generation import Operation

#: what can be asked without a parent
FIRST = (
    *(Operation.IMAGINE, Operation.BLEND, Operation.EDIT, Operation.VIDEO),
    *(Operation.DESCRIBE, Operation.SHORTEN, Operation.TRANSLATE),
)
#: those that every database keeps
PRIORITIES = range(-(2**31), 2**31)


@dataclass(frozen=True, slots=True)
class Place:
    """`source`: the name of the file, or which of several prompts; empty: the only one. Lines and columns from 1."""

    source: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        if self.line is None and self.column is None:
            return self.source
        line = "" if self.line is None else f", line {self.line}"
        return f"{self.source or 'the prompt'}{line}, column {self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`place` is for whoever finds a mistake in it. None: not said, so the default of the request holds.

    `locate` says where one character of its prompt stands, counted from 0.
    """

    place: Place
    prompt: str
    key: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    follow_up: str | None = None
    priority: int | None = None
    provider: str | None = None
    operation: Operation | None = None
    locate: Callable[[int], Place] | None = field(default=None, compare=False, repr=False)

    @property
    def said(self) -> frozenset[str]:
        """The names of its options, and of what else it says itself instead of leaving it to the defaults."""
        parts = ("provider", "operation", "follow_up", "options")
        return frozenset({"prompt", *self.options, *(part for part in parts if getattr(self, part))})

    def place_of(self, at: int | None) -> Place:
        """Where that character of the prompt stands, or where the entry does."""
        if at is None:
            return self.place
        return Place(self.place.source, column=at + 1) if self.locate is None else self.locate(at)
