"""A worker's shutdown: claimed work that has not started is returned; in-flight work gets a little more time.

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

#: seconds to receive the reply to an in-flight POST and record it
GRACE_SECONDS = 2.5
#: seconds after which the worker ends, whatever it is waiting for: a frozen broker, a hung provider
LAST_SECONDS = 4.5

_STOP_SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT, signal.SIGQUIT))
_DEADLINE = struct.Struct("d")
# When the time is up (monotonic; 0: no shutdown). In shared memory, because the signal reaches only the process that
# forks the pool's processes.
_of_all = mmap.mmap(-1, _DEADLINE.size)
_of_this_process = bytearray(_DEADLINE.size)
_main_process = os.getpid()


def stop() -> None:
    """Stop this process and its pool. They end by themselves, or with this process after LAST_SECONDS."""
    _ask(_of_all)
    threading.Thread(target=_end_at_last, daemon=True).start()


def stop_when_signalled() -> None:
    """React immediately to a stop signal in a process whose main thread does the work. Main thread only.

    Python runs handlers between steps of the main thread, and a database call that waits for a lock is a single step.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_stop_on_signal, args=(reader,), daemon=True).start()


def is_asked() -> bool:
    """Return whether a shutdown was requested, so that nothing more may start."""
    return seconds_left() < math.inf


def seconds_left() -> float:
    """Return how long to wait for in-flight work: infinite without a shutdown, negative once the time is up."""
    return min(_deadline(_of_all), _deadline(_of_this_process)) - time.monotonic()


@contextmanager
def work_given_back_on_sigterm() -> Iterator[None]:
    """If SIGTERM reaches a pool process along with its whole group, end it after the block has returned its work."""
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
    # The pool's processes die with their parent; their work becomes due again when its lease expires.
    os._exit(0)
