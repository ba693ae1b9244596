"""A preview of a file as a batch: all that `check_batch` finds, what is new, and the first rows."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from tasks.usecases.batch_file import BatchFile
from tasks.usecases.batches.check import BatchCheck, check_batch
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.batches.row_spool import RowSpool
from tasks.usecases.batches.submit import BatchSubmitted, submit_batch
from worker.errors import ConfigurationError, RequestInvalid
from worker.secrets import links_hidden
from worker.services import Services

#: rows and columns shown, and characters per cell
_ROWS, _COLUMNS, _CELL = 5, 8, 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """`planned`: which valid rows are new; None if they cannot be submitted, for the reason `refusal`.

    `rows`: the first rows, each with its number and the cells of `columns`.
    """

    found: BatchCheck
    planned: BatchSubmitted | None
    refusal: str | None
    columns: tuple[str, ...]
    more_columns: int
    rows: tuple[tuple[int, tuple[str, ...]], ...]


def preview(here: Services, request: BatchRequest) -> Preview:
    """Preview the file; write nothing. Raises as `check_batch` does."""
    planned, refusal = None, None
    with closing(RowSpool()) as wanted, closing(RowSpool()) as valid:
        found = check_batch(here, request, take=wanted.append)
        invalid = {fault.row for fault in found.errors}
        for one in wanted if invalid else ():
            if one.row_number not in invalid:
                valid.append(one)
        rows = valid if invalid else wanted
        try:
            planned = submit_batch(here, request, rows, rows=found.rows, invalid=found.invalid, dry_run=True)
        except (RequestInvalid, ConfigurationError) as error:
            refusal = str(error)
    columns = request.file.columns
    return Preview(
        found=found,
        planned=planned,
        refusal=refusal,
        columns=columns[:_COLUMNS],
        more_columns=max(0, len(columns) - _COLUMNS),
        rows=tuple(_rows(request.file, columns[:_COLUMNS])),
    )


def _rows(file: BatchFile, columns: tuple[str, ...]) -> Iterator[tuple[int, tuple[str, ...]]]:
    for number, cells in islice(file.cells(), _ROWS):
        yield number, tuple(_cell(cells.get(column)) for column in columns)


def _cell(value: object) -> str:
    text = "" if value is None else str(links_hidden(value if isinstance(value, str) else str(value)))
    return text if len(text) <= _CELL else f"{text[:_CELL]}…"
