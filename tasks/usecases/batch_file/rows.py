"""A row of a file, whatever its format."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tasks.usecases.batch_file.fault import Fault


@dataclass(frozen=True, slots=True)
class Damage:
    """What a spreadsheet turned a cell into. `is_lost`: the original value cannot be recovered."""

    what: str
    is_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`cells`: by column, without empty ones; text, or any JSON value. `line`: where it begins.

    `at`: where its first character is in the line; None in a table. `is_text`: it is a line of plain text.
    """

    line: int
    cells: Mapping[str, object]
    at: int | None = None
    is_text: bool = False
    damaged: Mapping[str, Damage] = field(default_factory=dict)


class RowReader(Protocol):
    """`columns`: in the order of the file; None where each row names its own."""

    @property
    def columns(self) -> tuple[str, ...] | None: ...

    def rows(self) -> Iterator[Row | Fault]:
        """Yield all rows that are not empty."""
