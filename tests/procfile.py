"""The processes of the Procfile, one by one."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.broker import running_broker
from tests.computer import DARKROOM
from worker.embedded.machine import procfile_commands


@contextmanager
def running(
    name: str, env: Mapping[str, str], folder: Path, command: str | None = None
) -> "Iterator[subprocess.Popen[bytes]]":
    """A process of the Procfile, or another `command`, in a process group of its own; its log is in `folder`."""
    argv = ("/bin/sh", "-c", command or procfile_commands()[name])
    with (
        (folder / f"{name}.log").open("wb") as log,
        subprocess.Popen(
            argv, env={**env, "HOME": str(folder)}, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def running_clock(database_url: str, folder: Path) -> Iterator[str]:
    """The clock, with a broker of its own; the broker's URL."""
    env = {"PATH": f"{DARKROOM.parent}:/usr/bin:/bin", "DATABASE_URL": database_url, "ACEDATACLOUD_API_TOKEN": "any"}
    with running_broker(folder) as url, running("clock", env | {"REDIS_URL": url}, folder):
        yield url


def prepared(name: str, script: str) -> str:
    """The command line of a process of Celery that executes `script` first: to shorten its patience, or to hurt it."""
    whole = f"{script}\nfrom celery.__main__ import main\nmain()"
    return procfile_commands()[name].replace("celery", f"{sys.executable} -c {shlex.quote(whole)}", 1)
