"""One requested generation and its position in the input."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from worker.generation import Operation

#: operations that need no parent
FIRST = (
    *(Operation.IMAGINE, Operation.BLEND, Operation.EDIT, Operation.VIDEO),
    *(Operation.DESCRIBE, Operation.SHORTEN, Operation.TRANSLATE),
)
#: the range that every database can store
PRIORITIES = range(-(2**31), 2**31)
#: maximum characters of a key and of a batch's name; databases index both
LONGEST_KEY, LONGEST_BATCH = 512, 255
#: what no database stores: a NUL, and half of a surrogate pair, which JSON can contain, and which Python uses for bytes
#: that are not UTF-8
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    """`source`: the file's name, or the prompt's number; empty for a single prompt. Lines and columns start at 1.

    `column`: the number of a character, or the name of a column if the file has columns.
    """

    source: str
    line: int | None = None
    column: int | str | None = None

    def __str__(self) -> str:
        if self.line is None and self.column is None:
            return self.source
        line = "" if self.line is None else f", line {self.line}"
        column = "" if self.column is None else f", column {self.column}"
        return f"{self.source or 'the prompt'}{line}{column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`place` locates the entry for error messages. Fields that are None take the request's defaults.

    `locate` returns the place of one character of the prompt, counted from 0. `input`: the user's own columns of its
    row, and the choice that a template made (`_choice`); `row_number`: the place of the row in the file, from 1;
    `row_sha256`: of the row as it was written; entries made of one row by its template have the same. `provider`: one,
    or several in order of preference (`kie,acedata`). `columns`: our names of fields and options → the names of their
    columns in the file. `notify`: the address for its events.
    """

    place: Place
    prompt: str
    key: str | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    follow_up: str | None = None
    recipe: str | None = None
    priority: int | None = None
    provider: str | None = None
    operation: Operation | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    input: Mapping[str, object] = field(default_factory=dict)
    row_number: int | None = None
    row_sha256: str | None = None
    locate: Callable[[int], Place] | None = field(default=None, compare=False, repr=False)
    columns: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    notify: str | None = field(default=None, repr=False)

    @property
    def said(self) -> frozenset[str]:
        """Return the names of its options and of the fields that it sets."""
        parts = ("provider", "operation", "follow_up", "recipe", "options", "labels", "notify")
        return frozenset({"prompt", *self.options, *(part for part in parts if getattr(self, part))})

    def place_of(self, at: int | None) -> Place:
        """Return the place of this character of the prompt, or else of the entry."""
        if at is None:
            return self.place
        return Place(self.place.source, column=at + 1) if self.locate is None else self.locate(at)
