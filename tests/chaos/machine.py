"""Everything that Darkroom needs, each part a process of its own under the supervisor, and how to get hold of them.

Beside it, if wanted, the naive program (`naive.py`) at the same broker and bucket and at a provider of its own, so that
each fault strikes both at the same moment.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import psutil

from tests.chaos.databases import Database
from tests.chaos.gate import Gate, gate
from worker.embedded import processes
from worker.embedded.machine import Embedded, embedded, procfile_commands
from worker.embedded.processes import Child
from worker.embedded.servers import BUCKET, LOOPBACK, free_port, http_answers

_ROOT = Path(__file__).parents[2]
_BROKERS = {"valkey-server", "redis-server"}
#: seconds in which what was killed must have come back
_PATIENCE = 45
_NAIVE = {
    "web": "exec granian --interface wsgi --workers 2 --respawn-failed-workers --no-access-log --host 127.0.0.1 "
    '--port "$PORT" tests.chaos.naive:web',
    "worker": "exec celery -A tests.chaos.naive worker -P prefork -c 8 -l WARNING -n naive@%h",
}

T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """`env` is the environment of the processes, `bucket` the folder with the objects as plain files.

    `providers`: the addresses of the pretend providers, ours first; `provider_faults`: what they always do wrong.
    """

    env: Mapping[str, str]
    folder: Path
    bucket: Path
    database: Database
    gate: Gate
    providers: Sequence[str]
    provider_faults: Mapping[str, float]

    def broker(self) -> psutil.Process:
        return _eventually(self._find_broker, "the broker did not come back")

    def processes(self, name: str) -> list[psutil.Process]:
        """Those of this name in the Procfile and beside it, or soon, if they have just died."""
        return [self._process(file) for file in self._files(name)]

    def children(self, name: str) -> list[list[psutil.Process]]:
        """What each of them has started, such as the processes of a pool; the oldest first."""
        return [_eventually(partial(_children, file), f"{file.stem} has no children") for file in self._files(name)]

    def forget_queue(self) -> None:
        """Delete what a broker that was just killed would read when it comes back."""
        shutil.rmtree(self.folder / "broker" / "appendonlydir")

    def ask_provider(self, path: str, number: int = 0) -> Any:
        with urlopen(f"{self.providers[number]}/sandbox/{path}", timeout=60) as answer:
            return json.load(answer)

    def set_provider_faults(self, more: Mapping[str, float]) -> None:
        """`more` than they always do wrong."""
        for provider in self.providers:
            set_faults(provider, {**self.provider_faults, **more})

    def _files(self, name: str) -> list[Path]:
        return [file for file in (self.folder / f"{name}.pid", self.folder / f"naive-{name}.pid") if file.exists()]

    def _process(self, file: Path) -> psutil.Process:
        return _eventually(partial(_running, file), f"{file.stem} did not come back")

    def _find_broker(self) -> psutil.Process | None:
        return next((one for one in psutil.Process().children() if one.name() in _BROKERS), None)


def set_faults(provider: str, faults: Mapping[str, float]) -> None:
    body = json.dumps(faults).encode()
    with urlopen(Request(f"{provider}/sandbox/faults", body, {"Content-Type": "application/json"}), timeout=10):
        pass


@contextmanager
def running(
    folder: Path,
    database: Database,
    *,
    seed: int,
    delay: float,
    provider_faults: Mapping[str, float],
    naive: bool,
    **settings: str,
) -> Iterator[Machine]:
    """Start everything in `folder`, with its output in `processes.log`; `settings` are of Darkroom.

    `seed`, and `delay`, the seconds that a generation takes, are of the pretend providers.
    """
    # Here they die faster than any real ones, and a host's service manager, too, starts them again after a second.
    processes.LONGEST_PAUSE_SECONDS = 1.0
    port, providers = free_port(), [f"http://{LOOPBACK}:{free_port()}" for _ in range(2 if naive else 1)]
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(_ROOT),
        "HOME": str(folder),
        "HOST": LOOPBACK,
        "PORT": str(port),
        "API_PORT": str(free_port()),
        "PUBLIC_URL": f"http://{LOOPBACK}:{port}",
        "DATABASE_URL": database.url,
        "ACEDATACLOUD_BASE_URL": providers[0],
        "ACEDATACLOUD_API_TOKEN": "token-of-the-chaos",
        "DARKROOM_DOWNLOAD_ALLOW": LOOPBACK,
        "LOG_LEVEL": "WARNING",
        **settings,
    }
    with (folder / "processes.log").open("a", buffering=1) as log:

        def write(name: str, line: str) -> None:
            log.write(f"{time.strftime('%H:%M:%S')} {name:<7} | {line}\n")

        with embedded(folder, env, say=partial(write, "chaos"), on_output=write) as parts:
            server = urlsplit(parts.env["AWS_ENDPOINT_URL"])
            with gate(int(server.port or 0)) as bucket_gate:
                address = f"http://{LOOPBACK}:{bucket_gate.port}"
                gated = {**parts.env, "AWS_ENDPOINT_URL": address, "AWS_ENDPOINT_URL_S3": address}
                parts = replace(parts, env=gated)  # noqa: PLW2901
                parts.supervisor.start(*(_provider(parts, address, seed, delay) for address in providers))
                for provider in providers:
                    set_faults(provider, provider_faults)
                parts.start_procfile({name: _noted(name, line) for name, line in procfile_commands().items()})
                if naive:
                    parts.supervisor.start(*_naive(parts, providers[1]))
                bucket = folder / "s3" / BUCKET
                yield Machine(gated, folder, bucket, database, bucket_gate, providers, provider_faults)


def _provider(parts: Embedded, address: str, seed: int, delay: float) -> Child:
    port = int(address.rpartition(":")[2])
    command = (sys.executable, "-m", "webhook.sandbox", "--port", str(port), "--seed", str(seed))
    options = ("--delay", str(delay), "--size", "32", "--quiet")
    return Child(
        name=f"sandbox {port}",
        argv=(*command, *options),
        env=parts.env,
        ready=partial(http_answers, LOOPBACK, port, "/livez"),
    )


def _naive(parts: Embedded, provider: str) -> Iterator[Child]:
    port = free_port()
    env = {
        **parts.env,
        "PORT": str(port),
        "NAIVE_BROKER": naive_broker(parts.env),
        "NAIVE_PROVIDER": provider,
        "NAIVE_URL": f"http://{LOOPBACK}:{port}",
    }
    for name, line in _NAIVE.items():
        yield Child(name=f"naive-{name}", argv=("/bin/sh", "-c", _noted(f"naive-{name}", line)), env=env)


def naive_broker(env: Mapping[str, str]) -> str:
    """Another database of the same server."""
    return env["REDIS_URL"].removesuffix("/0") + "/1"


def _noted(name: str, line: str) -> str:
    """The shell notes its number and then becomes the program."""
    return f'echo $$ >"$DARKROOM_DATA/{name}.pid"; {line}'


def _running(file: Path) -> psutil.Process | None:
    try:
        process = psutil.Process(int(file.read_text()))
        return process if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.NoSuchProcess, ValueError):
        return None


def _children(file: Path) -> list[psutil.Process]:
    try:
        parent = _running(file)
        return sorted(parent.children(), key=psutil.Process.create_time) if parent else []
    except psutil.NoSuchProcess:
        return []


def _eventually(look: Callable[[], T | None], complaint: str) -> T:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{complaint} within {_PATIENCE} s")
