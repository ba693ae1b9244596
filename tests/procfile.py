"""The processes of the Procfile, one by one."""

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from worker.embedded import procfile_commands


@contextmanager
def running(name: str, env: Mapping[str, str], folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A process of the Procfile, in a process group of its own; its log is in `folder`."""
    command = ("/bin/sh", "-c", procfile_commands()[name])
    with (
        (folder / f"{name}.log").open("wb") as log,
        subprocess.Popen(
            command, env={**env, "HOME": str(folder)}, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
