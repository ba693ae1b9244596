"""Ends a process in which something waits for what never comes: its supervisor starts it again, with new connections.

No library bounds every wait. A connection whose other end has vanished, or a proxy that passes nothing on any more, may
keep a thread waiting for hours, and no thread can interrupt another.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

log = logging.getLogger(__name__)

#: of a process that ends itself: a failure, or some supervisors would leave it dead
EXIT_CODE = 1
#: seconds between two looks at what is watched
_LOOK_SECONDS = 1.0
#: seconds for the last words; whoever reads the log may hang as well
_LAST_WORDS_SECONDS = 2.0


@contextmanager
def limit(what: str, seconds: float) -> Iterator[Callable[[], None]]:
    """End this process if the block takes longer, or so long after the last call of what the block gets.

    Time in which the whole process was stopped does not count. Only for work that another process may take up wherever
    it was left.
    """
    over, goes_on = threading.Event(), threading.Event()
    # One for each block: nothing is left of it after a fork, and none can wait for another.
    watcher = threading.Thread(
        target=_watch, args=(what, seconds, over, goes_on, threading.get_ident()), name="watchdog", daemon=True
    )
    watcher.start()
    try:
        yield goes_on.set
    finally:
        over.set()


def end_process(why: str) -> NoReturn:
    """Say why, and end at once: whatever this process waits for, it does not wait for its own end."""
    # In a thread, because a log that nobody reads, or its lock, is one more wait that only the other side can end.
    words = ("this process ends, to be started again: %s", why)
    saying = threading.Thread(target=log.critical, args=words, daemon=True)
    try:
        saying.start()
        saying.join(_LAST_WORDS_SECONDS)
    finally:
        os._exit(EXIT_CODE)


def _watch(what: str, seconds: float, over: threading.Event, goes_on: threading.Event, thread: int) -> None:
    # Looks are counted, not time: a process that was stopped, or whose machine slept, goes on where it was, and the
    # answer to a paid POST that it is about to write down must not be lost.
    looks = 0
    while looks < seconds / _LOOK_SECONDS:
        if over.wait(_LOOK_SECONDS):
            return
        looks = 0 if goes_on.is_set() else looks + 1
        goes_on.clear()
    end_process(f"{what} did not come to an end within {seconds:g} s; it waits in\n{_place(thread)}")


def _place(thread: int) -> str:
    """Where the thread is, in file names and line numbers only: values may be secrets."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001  documented; nothing else tells where another thread is
    return "".join(traceback.format_stack(frame)) if frame else "a thread that has ended"
