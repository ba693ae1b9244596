"""The HTTP API as it is really served: the Procfile's own command line, in a process of its own."""

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.patience import patient, wait_for
from worker.embedded.machine import procfile_commands
from worker.embedded.servers import LOOPBACK, free_port, http_answers

REFUSED_BROKER = "redis://:broker-password@127.0.0.1:1/0"


@contextmanager
def served(
    database_url: str, *, log: Path | None = None, **more: str
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run it until the block ends, and give its address and process; `more` are environment variables."""
    port = free_port()
    env = {
        **os.environ,
        "PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath))),
        "API_PORT": str(port),
        "DATABASE_URL": database_url,
        "REDIS_URL": REFUSED_BROKER,
        **more,
    }
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(["/bin/sh", "-c", procfile_commands()["api"]], env=env, stdout=output, stderr=output)
    try:
        if not wait_for(lambda: http_answers(LOOPBACK, port, "/livez"), 30, pause=0.05):
            raise TimeoutError("the API did not start")
        yield f"http://{LOOPBACK}:{port}", process
    finally:
        process.terminate()
        process.wait(timeout=patient(20))
