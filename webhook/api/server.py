"""granian in one process: by default it has a parent that serves nothing and takes 25 MB (decision 60)."""

import gc
import os
import sys
import threading
from typing import Any, NoReturn

from flask import Flask
from granian.server.common import AbstractServer
from granian.server.mt import MTServer


def create_app() -> Flask:
    """Return the application of this process, with its objects frozen for the garbage collector.

    Otherwise each full collection would traverse them, and stop all requests meanwhile.
    """
    from webhook.api import app  # noqa: PLC0415  not until the server listens

    created = app.create_app()
    gc.collect()
    gc.freeze()
    return created


#: seconds within which a signal is noticed
_PAUSE = 0.2


class OneProcess(MTServer):
    """granian's server for free-threaded Python, whose worker is a thread, running under a Python with the GIL."""

    def __init__(self, target: str, **options: Any) -> None:
        super().__init__(target, **options)
        self.main_loop_interrupt = _Interrupt()

    def serve(self) -> NoReturn:  # type: ignore[override]  # those arguments are for other ways to start
        """Serve until SIGTERM or SIGINT, then end the process.

        Requests that last longer than `workers_kill_timeout` are cut off: their threads would keep the process alive.
        """
        status = 0
        try:
            # Not MTServer's, which warns that running without the GIL is experimental.
            AbstractServer.serve(self)
        except SystemExit as error:
            status = 1 if error.code else 0
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    def _check_gil(self) -> None:
        pass


class _Interrupt(threading.Event):
    """What the main thread waits for. It wakes periodically, because Python handles signals only there.

    The kernel may deliver a signal to any thread of the server, which does not end the main thread's wait.
    """

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002  callers pass none
        while not super().wait(_PAUSE):
            pass
        return True
