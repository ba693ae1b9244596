"""Everything that Darkroom needs, each part a process of its own under the supervisor, and how to get hold of them."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

from worker.embedded import embedded, procfile_commands
from worker.processes import Child
from worker.servers import BUCKET, LOOPBACK, free_port, http_answers

#: what the provider and its network do wrong by themselves: the probability for each submission
PROVIDER_FAULTS = {"duplicate": 0.1, "early": 0.05, "drop": 0.05, "reset": 0.05, "error_after": 0.05}
#: seconds that a generation takes, and the side of its picture in pixels
DELAY, SIDE = 1.0, 32

_BROKERS = {"valkey-server", "redis-server"}
#: longer than the longest pause of the supervisor before it starts a process again
_PATIENCE = 45


@dataclass(frozen=True)
class Machine:
    """`env` is the environment of the processes, `bucket` the folder with the objects as plain files."""

    env: Mapping[str, str]
    folder: Path
    bucket: Path

    def process(self, name: str) -> psutil.Process:
        """`broker`, or one of the Procfile's: the one that runs now, or soon, if it has just died."""
        return _eventually(lambda: self._find(name), f"{name} did not come back")

    def child_of(self, name: str) -> psutil.Process:
        """The newest process that it has started: one of a pool."""
        return _eventually(lambda: self._find_child(name), f"{name} has no children")

    def forget_queue(self) -> None:
        """Delete what a broker that was just killed would read when it comes back."""
        shutil.rmtree(self.folder / "broker" / "appendonlydir")

    def ask_sandbox(self, path: str) -> Any:
        with urlopen(f"{self.env['ACEDATACLOUD_BASE_URL']}/sandbox/{path}", timeout=10) as answer:
            return json.load(answer)

    def _find(self, name: str) -> psutil.Process | None:
        if name == "broker":
            return next((one for one in psutil.Process().children() if one.name() in _BROKERS), None)
        try:
            process = psutil.Process(int((self.folder / f"{name}.pid").read_text()))
            return process if process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None

    def _find_child(self, name: str) -> psutil.Process | None:
        try:
            parent = self._find(name)
            return max(parent.children(), key=psutil.Process.create_time, default=None) if parent else None
        except psutil.NoSuchProcess:
            return None


@contextmanager
def running(folder: Path, database_url: str, *, rate: float, seed: int) -> Iterator[Machine]:
    """Start everything in `folder`, with its output in `processes.log`; `rate` is submissions per second."""
    sandbox, port = free_port(), free_port()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HOST": LOOPBACK,
        "PORT": str(port),
        "PUBLIC_URL": f"http://{LOOPBACK}:{port}",
        "DATABASE_URL": database_url,
        "ACEDATACLOUD_BASE_URL": f"http://{LOOPBACK}:{sandbox}",
        "ACEDATACLOUD_API_TOKEN": "any",
        "ACEDATACLOUD_RATE": str(rate),
        "DARKROOM_DOWNLOAD_ALLOW": LOOPBACK,
        "DARKROOM_POLL_SECONDS": "3",
    }
    provider = (
        *(sys.executable, "-m", "webhook.sandbox", "--port", str(sandbox), "--seed", str(seed)),
        *("--delay", str(DELAY), "--size", str(SIDE), "--faults", json.dumps(PROVIDER_FAULTS)),
    )
    with (folder / "processes.log").open("a", buffering=1) as log:

        def write(name: str, line: str) -> None:
            log.write(f"{time.strftime('%H:%M:%S')} {name:<7} | {line}\n")

        with embedded(folder, env, say=partial(write, "chaos"), on_output=write) as parts:
            ready = partial(http_answers, LOOPBACK, sandbox, "/livez")
            parts.supervisor.start(Child("sandbox", provider, parts.env, ready))
            # The shell notes its number and then becomes the program.
            commands = procfile_commands().items()
            parts.start_procfile({name: f'echo $$ >"$DARKROOM_DATA/{name}.pid"; {line}' for name, line in commands})
            yield Machine(parts.env, folder, folder / "s3" / BUCKET)


def _eventually(look: Callable[[], psutil.Process | None], complaint: str) -> psutil.Process:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{complaint} within {_PATIENCE} s")
