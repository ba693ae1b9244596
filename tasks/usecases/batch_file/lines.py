"""Reads the text of a file line by line, refusing lines that would fill the memory."""

import re
from collections.abc import Iterator

from tasks.usecases.batch_file.fault import refuse
from tasks.usecases.batch_file.misfits import Line
from tasks.usecases.batch_file.spool import Spool

#: characters; an object with an image of 10 MB in it fits
LONGEST = 16 * 1024 * 1024
#: characters from which the format is determined
_BEGINNING = 1 << 20
_LINE_END = re.compile(r"\r\n|\r|\n")


def lines_of(spool: Spool) -> Iterator[str]:
    """Yield each line, including blank ones, with its line break. Raises RequestInvalid for a line that is too long."""
    reader, number = spool.text(), 0
    # Not splitlines(): texts may contain other line separators.
    while line := reader.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            refuse(spool.name, number, LONGEST, f"a line longer than {LONGEST >> 20} million characters")
        yield line


def first_lines(spool: Spool) -> list[Line]:
    """Return the first non-blank lines; the last may be incomplete."""
    numbered = enumerate(_LINE_END.split(spool.text().read(_BEGINNING)), start=1)
    return [Line(number, text) for number, text in numbered if text.strip()]
