"""Ends a process that has a hung thread; its supervisor restarts it with new connections.

No library limits every wait. A connection to a vanished peer, or a proxy that no longer forwards anything, can block a
thread for hours, and no thread can interrupt another.
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

#: the exit code of a process that ends itself; not 0, or some supervisors would not restart it
EXIT_CODE = 1
#: seconds between checks
_LOOK_SECONDS = 1.0
#: seconds for the last log line, because the log's reader may hang too
_LAST_WORDS_SECONDS = 2.0


@contextmanager
def limit(what: str, seconds: float) -> Iterator[Callable[[], None]]:
    """End this process if the block takes longer than `seconds` without a call to the yielded function.

    Time during which the whole process was suspended does not count. Use it only for work that another process can
    continue from any point.
    """
    over, goes_on = threading.Event(), threading.Event()
    # One thread per block, so that nothing remains after a fork and no block waits for another.
    watcher = threading.Thread(
        target=_watch, args=(what, seconds, over, goes_on, threading.get_ident()), name="watchdog", daemon=True
    )
    watcher.start()
    try:
        yield goes_on.set
    finally:
        over.set()


def end_process(why: str) -> NoReturn:
    """Log the reason and end immediately, whatever this process is waiting for."""
    # Log in a thread, because a log without a reader, or the log's lock, may block too.
    words = ("this process ends and must be restarted: %s", why)
    saying = threading.Thread(target=log.critical, args=words, daemon=True)
    try:
        saying.start()
        saying.join(_LAST_WORDS_SECONDS)
    finally:
        os._exit(EXIT_CODE)


def _watch(what: str, seconds: float, over: threading.Event, goes_on: threading.Event, thread: int) -> None:
    # Count checks, not time: a process that was suspended, or whose machine slept, continues where it was, and must not
    # lose the reply to a paid POST that it is about to record.
    looks = 0
    while looks < seconds / _LOOK_SECONDS:
        if over.wait(_LOOK_SECONDS):
            return
        looks = 0 if goes_on.is_set() else looks + 1
        goes_on.clear()
    end_process(f"{what} did not finish within {seconds:g} s; it waits in\n{_place(thread)}")


def _place(thread: int) -> str:
    """Return where the thread is, as file names and line numbers only: values may be secrets."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001  documented; the only way to see another thread's frame
    return "".join(traceback.format_stack(frame)) if frame else "a thread that has ended"
