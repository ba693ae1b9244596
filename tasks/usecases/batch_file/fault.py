"""What is wrong with a batch file, and where."""

from typing import NamedTuple, NoReturn

from tasks.usecases.entry import Place
from worker.errors import RequestInvalid


class Fault(NamedTuple):
    """One mistake in a row; `row` is the row's number, None if it concerns the whole file.

    `column`: the column's name where the file has columns, else the number of a character. `value`: the beginning of
    the value.
    """

    line: int | None
    column: str | int | None
    value: str | None
    message: str
    row: int | None = None

    def sentence(self, name: str) -> str:
        """Return the message with the file's name and the place."""
        return f"{Place(name, self.line, self.column)}: {self.message}"


def refuse(name: str, line: int | None, column: str | int | None, message: str) -> NoReturn:
    """Raise RequestInvalid: the whole file cannot be read."""
    raise RequestInvalid(f"{Place(name, line, column)}: {message}")
