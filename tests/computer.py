"""A computer with one user, who knows Darkroom as a command and nothing else."""

import json
import os
import signal
import subprocess
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from tests.patience import patient, wait_for
from worker.embedded.servers import free_port

DARKROOM = Path(sysconfig.get_path("scripts")) / "darkroom"


class Computer:
    """A home, a data folder below it, and what is set in the environment: `env`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / "my data"
        self.port = free_port()
        #: of the receiver
        self.url = f"http://127.0.0.1:{self.port}"
        self.api = f"http://127.0.0.1:{(api_port := free_port())}"
        self.env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "DARKROOM_DATA": str(self.data),
            "PORT": str(self.port),
            "API_PORT": str(api_port),
            "ACEDATACLOUD_API_TOKEN": "token-of-the-user",
            "DARKROOM_DOWNLOAD_ALLOW": "127.0.0.1",
            # Another checkout than the installed one, if these tests belong to it.
            **{name: value for name, value in os.environ.items() if name == "PYTHONPATH"},
        }

    def darkroom(self, *arguments: str, seconds: float = 30, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end; a variable that is set to nothing is as good as not set."""
        return subprocess.run(
            [DARKROOM, *arguments],
            env={**self.env, **env},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=patient(seconds),
            check=False,
        )

    def json(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command says in JSON, line by line."""
        done = self.darkroom(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    @contextmanager
    def up(self, stop: signal.Signals = signal.SIGTERM) -> Iterator[dict[str, Any]]:
        """`darkroom up` while the block runs, which gets what it said; at the end it must stop in order and in time."""
        log = self.home / "up.log"
        with log.open("a") as errors:
            process = subprocess.Popen(
                [DARKROOM, "up", "--json"],
                env=self.env,
                cwd=self.home,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        try:
            assert process.stdout
            said = process.stdout.readline()
            assert said, log.read_text()
            yield json.loads(said) | {"pid": process.pid}
            family = family_of(process.pid)
            process.send_signal(stop)
            assert process.wait(timeout=patient(10)) == 0, log.read_text()
            assert [one for one in family if is_alive(one)] == []
        finally:
            process.kill()
            process.communicate()

    def states(self) -> list[str]:
        return [record["state"] for record in self.json("list")]

    def until_all_is_archived(self) -> None:
        """The newest batch, or the newest generation with its follow-ups."""
        done = self.darkroom("watch", seconds=45)
        assert done.returncode == 0, done.stderr

    def processes(self) -> list[psutil.Process]:
        """All that work in this home, whoever their parent is."""
        return [one for one in psutil.process_iter() if self._is_home_of(one) and is_alive(one)]

    def _is_home_of(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return Path(process.cwd()).is_relative_to(self.home)
        return False


class PeakMemory:
    """The most that all processes of a computer hold at once, in MB; what several share counts once."""

    def __init__(self, computer: Computer) -> None:
        self.megabytes = 0.0
        self._computer = computer
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            now = sum(_proportional_set_size(one) for one in self._computer.processes())
            self.megabytes = max(self.megabytes, now / 1e6)


def _proportional_set_size(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return int(process.memory_full_info().pss)
    return 0


def family_of(pid: int) -> list[psutil.Process]:
    """A process and all that it has started."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def eventually(holds: Callable[[], bool], seconds: float) -> None:
    if not wait_for(holds, seconds, pause=0.1):
        pytest.fail(f"did not come true within {seconds:g} s and what a busy machine gets more")
