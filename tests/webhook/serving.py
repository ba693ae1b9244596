"""The receiver as it is really served: the Procfile's own command line, and a real broker that can be frozen."""

import os
import secrets
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.patience import patient, wait_for
from worker.embedded.machine import procfile_commands
from worker.embedded.servers import LOOPBACK, broker, free_port, http_answers

KEYS = "k1:" + "0123456789abcdef" * 3
REFUSED_BROKER = "redis://:broker-password@127.0.0.1:1/0"


@dataclass(frozen=True)
class Served:
    port: int
    process: "subprocess.Popen[bytes]"

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def accepted(self) -> int:
        """How many open connections the processes have taken from the kernel."""
        return sum(
            each.status == psutil.CONN_ESTABLISHED and each.laddr.port == self.port
            for worker in self.workers()
            for each in worker.net_connections("tcp")
        )

    def unread(self) -> int:
        """How many bytes of requests the processes have not read from the kernel."""
        local = f"{int.from_bytes(socket.inet_aton(LOOPBACK), sys.byteorder):08X}:{self.port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()]
        return sum(int(line[4].partition(":")[2], 16) for line in lines if line[1] == local and line[3] == "01")


@contextmanager
def served(
    database_url: str,
    *,
    redis_url: str = REFUSED_BROKER,
    command: str | None = None,
    log: Path | None = None,
    **more: str,
) -> Iterator[Served]:
    """Run the Procfile's receiver, or another `command`, until the block ends; `more` are environment variables."""
    port = free_port()
    env = {
        **os.environ,
        "PATH": os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath))),
        "HOST": LOOPBACK,
        "PORT": str(port),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DARKROOM_SIGNING_KEYS": KEYS,
        **more,
    }
    with (log or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command or procfile_commands()["web"]], env=env, stdout=output, stderr=output
        )
    server = Served(port, process)
    try:
        # Several times, because one answer does not speak for the other process.
        _wait(lambda: len(server.workers()) == 2 and all(http_answers(LOOPBACK, port, "/livez") for _ in range(8)))
        yield server
    finally:
        process.terminate()
        process.wait(timeout=patient(20))


@contextmanager
def valkey(folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A broker's URL and its process; its files are in `folder`."""
    server = broker(folder, secrets.token_hex(16), os.environ)
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            server.child.argv, env=dict(server.child.env), cwd=server.child.cwd, stdout=output, stderr=output
        )
    try:
        _wait(server.child.ready or (lambda: True))
        yield server.found_by["REDIS_URL"], process
    finally:
        process.kill()
        process.wait(timeout=patient(20))


def _wait(ready: Callable[[], bool], seconds: float = 30) -> None:
    if not wait_for(ready, seconds, pause=0.05):
        raise TimeoutError("the server did not start")
