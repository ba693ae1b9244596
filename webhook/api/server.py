"""granian in one process: its own way has a parent that serves nothing and takes 25 MB (decision 60)."""

import gc
import os
import sys
import threading
from typing import Any, NoReturn

from flask import Flask
from granian.server.common import AbstractServer
from granian.server.mt import MTServer


def create_app() -> Flask:
    """Return the application of this process; the garbage collector leaves alone what it consists of.

    Each full collection would look at all of it, and stop all requests meanwhile.
    """
    from webhook.api import app  # noqa: PLC0415  not before the server listens

    created = app.create_app()
    gc.collect()
    gc.freeze()
    return created


#: seconds after which a signal is noticed at the latest
_PAUSE = 0.2


class OneProcess(MTServer):
    """Its server for Pythons without the GIL, whose worker is a thread, under a Python that has one."""

    def __init__(self, target: str, **options: Any) -> None:
        super().__init__(target, **options)
        self.main_loop_interrupt = _Interrupt()

    def serve(self) -> NoReturn:  # type: ignore[override]  # those arguments are for other ways to start
        """Serve until SIGTERM or SIGINT, then end the process.

        Requests that last longer than `workers_kill_timeout` are cut off: their threads would keep the process.
        """
        status = 0
        try:
            # Not that of MTServer, which warns that it is experimental where there is no GIL.
            AbstractServer.serve(self)
        except SystemExit as error:
            status = 1 if error.code else 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def _check_gil(self) -> None:
        pass


class _Interrupt(threading.Event):
    """What the main thread waits for. It wakes in between, since Python handles signals in no other thread.

    The kernel may give a signal to any thread of the server, and that does not end the main thread's wait.
    """

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002  nobody gives one
        while not super().wait(_PAUSE):
            pass
        return True
