"""Progress of one long operation: a bar on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tasks.cli.ui.output import note

#: seconds between lines where no bar can be drawn
_PAUSE = 10.0


@contextmanager
def share(doing: str) -> Iterator[Callable[[float], None]]:
    """Yield the function to call with the share done, from 0 to 1. The bar disappears when complete."""
    # Without a terminal, no bars are needed.
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn  # noqa: PLC0415

    from tasks.cli.ui.style import console  # noqa: PLC0415

    screen = console(stderr=True)
    if screen.is_terminal:
        with Progress(TextColumn(doing), BarColumn(), TaskProgressColumn(), console=screen, transient=True) as bar:
            task = bar.add_task(doing, total=1.0)
            yield lambda done: bar.update(task, completed=done)
        return
    told_at = time.monotonic()

    def tell(done: float) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > _PAUSE:
            told_at = time.monotonic()
            note(f"{doing}: {done:.0%}")

    yield tell
