"""Progress of a count: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tasks.cli.ui.output import note

#: seconds between lines where no bar can be drawn
_PAUSE = 10.0


def counting(doing: str, done: str) -> Callable[[int], AbstractContextManager[Callable[[], None]]]:
    """Return a context manager that takes the total and yields the function to call after each item.

    Example: `counting("reading", "read")`.
    """

    @contextmanager
    def progress(total: int) -> Iterator[Callable[[], None]]:
        # Without a terminal, no bars are needed.
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        from tasks.cli.ui.style import console  # noqa: PLC0415

        screen = console(stderr=True)
        if screen.is_terminal:
            columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            with Progress(*columns, console=screen, transient=True) as bar:
                task = bar.add_task(doing, total=total)
                yield lambda: bar.advance(task)
            return
        number, told_at = 0, time.monotonic()

        def tick() -> None:
            nonlocal number, told_at
            number += 1
            if time.monotonic() - told_at > _PAUSE:
                told_at = time.monotonic()
                note(f"{number:,} of {total:,} {done}")

        yield tick

    return progress
