"""The user's own invalid rows with a column `error`, which is ignored when the file is submitted again."""

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from typing import TextIO

from tasks.usecases.batch_file import BatchFile, Fault

#: the column that is added
ERROR = "error"


def write_errors(file: BatchFile, errors: Sequence[Fault], out: TextIO) -> int:
    """Write CSV with the columns of the file; return the number of rows. `out` is opened with newline=""."""
    told: defaultdict[int, list[str]] = defaultdict(list)
    for fault in errors:
        if fault.row is not None:
            told[fault.row].append(fault.message if fault.column is None else f"{fault.column}: {fault.message}")
    columns = [column for column in file.columns if column != ERROR]
    sheet = csv.writer(out, lineterminator="\n")
    sheet.writerow([*columns, ERROR])
    for number, cells in file.cells():
        if number in told:
            sheet.writerow([*(_text(cells.get(column)) for column in columns), "; ".join(told[number])])
    return len(told)


def _text(cell: object) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)
