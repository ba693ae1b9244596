"""Reads plain text: one prompt per line."""

from collections.abc import Iterator

from tasks.shown import shown
from tasks.usecases.batch_file.fault import Fault
from tasks.usecases.batch_file.lines import lines_of
from tasks.usecases.batch_file.misfits import Line, misfit_of_line
from tasks.usecases.batch_file.rows import Row
from tasks.usecases.batch_file.spool import Spool


class TextLines:
    #: a line has no columns
    columns: tuple[str, ...] = ()

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def rows(self) -> Iterator[Row | Fault]:
        for number, text in enumerate(lines_of(self._spool), start=1):
            line = Line(number, text)
            if not (prompt := text.strip()):
                continue
            if misfit := misfit_of_line(line):
                yield Fault(misfit.line, misfit.column, shown(prompt), misfit.what)
            else:
                yield Row(line=number, cells={"prompt": prompt}, at=line.start, is_text=True)
