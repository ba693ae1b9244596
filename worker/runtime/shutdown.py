"""A worker's shutdown: claimed work that has not started is returned, in-flight work gets a little time.

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

#: seconds for the reply to an in-flight POST and for recording it
GRACE_SECONDS = 2.5
#: seconds after which the worker ends, whatever it waits for: a frozen broker, a hung provider
LAST_SECONDS = 4.5

_STOP_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))
_DEADLINE = struct.Struct("d")
# The end of the time limit (monotonic; 0: no shutdown). Shared memory, because the signal reaches only the process that
# forks the pool's processes.
_of_all = mmap.mmap(-1, _DEADLINE.size)
_of_this_process = bytearray(_DEADLINE.size)
_main_process = os.getpid()


def stop() -> None:
    """Stop this process and its pool; they end by themselves, or with this one after LAST_SECONDS."""
    _ask(_of_all)
    threading.Thread(target=_end_at_last, daemon=True).start()


def stop_when_signalled() -> None:
    """React to a stop signal at once in a process whose main thread does the work; main thread only.

    Python runs handlers between two steps of the main thread, and a database waiting for a lock is one step.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_stop_on_signal, args=(reader,), daemon=True).start()


def is_asked() -> bool:
    """Return whether to start nothing more."""
    return seconds_left() < math.inf


def seconds_left() -> float:
    """Return how long to wait for in-flight work; infinite without a shutdown, negative when the time is over."""
    return min(_deadline(_of_all), _deadline(_of_this_process)) - time.monotonic()


@contextmanager
def work_given_back_on_sigterm() -> Iterator[None]:
    """Let a pool process that receives SIGTERM with its whole group end after the block has returned its work."""
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
    # The pool's processes die with their parent. Their work becomes due again when its lease ends.
    os._exit(0)
