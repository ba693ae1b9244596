"""Progress of reading a provider's list: a transient line on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

from rich.text import Text

from tasks.cli.ui.output import note
from tasks.cli.ui.style import console

#: seconds between lines where output cannot be redrawn
_PAUSE = 10.0

T = TypeVar("T")


def pages(title: str, tasks: Iterator[T], size: int) -> Iterator[list[T]]:
    """Yield up to `size` tasks at a time; the caller may print between them."""
    screen = console(stderr=True)
    done, told_at = 0, time.monotonic()
    while True:
        if screen.is_terminal:
            # Only while reading: a constantly redrawn line would overwrite what is printed in between.
            with screen.status(Text(f"reading the list of {title}: {done:,} so far")):
                page = list(islice(tasks, size))
        else:
            page = list(islice(tasks, size))
        if not page:
            return
        done += len(page)
        if not screen.is_terminal and time.monotonic() - told_at >= _PAUSE:
            told_at = time.monotonic()
            note(f"reading the list of {title}: {done:,} so far")
        yield page
