"""Whether this worker was told to stop: what has not begun is given back, what is under way gets a little time.

Process managers kill after 5 seconds (honcho) or more.
"""

import math
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: seconds in which a POST that is under way may still be answered and written down
GRACE_SECONDS = 2.5
#: seconds after which the worker ends, whatever it waits for: a frozen broker, a provider that hangs
LAST_SECONDS = 4.5

_STOP_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))
_DEADLINE = struct.Struct("d")
# When the time is over (monotonic; 0: nobody asked). Memory that the pool's processes share with the one that forks
# them: only that one is told to stop.
_of_all = mmap.mmap(-1, _DEADLINE.size)
_of_this_process = bytearray(_DEADLINE.size)
_main_process = os.getpid()


def stop() -> None:
    """Tell this process and those that it has forked; they end by themselves, or with this one after LAST_SECONDS."""
    _ask(_of_all)
    threading.Thread(target=_end_at_last, daemon=True).start()


def stop_when_signalled() -> None:
    """Notice a signal to stop at once, in a process whose main thread does the work itself; main thread only.

    Python runs handlers between two steps of the main thread, and a database that waits for a lock is one step.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_stop_on_signal, args=(reader,), daemon=True).start()


def is_asked() -> bool:
    """Whether to begin nothing more."""
    return seconds_left() < math.inf


def seconds_left() -> float:
    """How long to wait for what is under way; infinite while nobody asks, negative when the time is over."""
    return min(_deadline(_of_all), _deadline(_of_this_process)) - time.monotonic()


@contextmanager
def work_given_back_on_sigterm() -> Iterator[None]:
    """A pool's process that is told to stop, because its whole group is, does so when the block has given work back."""
    if os.getpid() == _main_process or threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def ask(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        _ask(_of_this_process)

    before = signal.signal(signal.SIGTERM, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if asked:
            os.kill(os.getpid(), signal.SIGTERM)


def _ask(where: mmap.mmap | bytearray) -> None:
    if _deadline(where) == math.inf:
        _DEADLINE.pack_into(where, 0, time.monotonic() + GRACE_SECONDS)


def _deadline(where: mmap.mmap | bytearray) -> float:
    (deadline,) = _DEADLINE.unpack_from(where)
    return deadline or math.inf


def _stop_on_signal(reader: int) -> None:
    while _STOP_SIGNALS.isdisjoint(os.read(reader, 64)):
        pass
    stop()


def _end_at_last() -> None:
    time.sleep(LAST_SECONDS)
    # The processes of the pool die with their parent. What they held comes back when its lease ends.
    os._exit(0)
