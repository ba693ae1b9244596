"""Signals for the processes that tests start, however the test run itself was started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

NUMBERS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)


@contextmanager
def not_ignored() -> Iterator[None]:
    """What `nohup` and a script's `&` ignore, every process that is started in the block would ignore too.

    A handler is not inherited over an exec, and this one leaves the run as deaf as whoever started it wanted it.
    """
    ignored = [number for number in NUMBERS if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)
