"""Everything that `darkroom up` starts, beside a pretend provider with tiny pictures, and what its processes use."""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
from kombu import pools

from tasks.cli.ui.context import use_environment, without_services
from worker.celery import app
from worker.embedded.machine import embedded, procfile_commands
from worker.embedded.processes import Child
from worker.embedded.servers import LOOPBACK, free_port, http_answers
from worker.services import Services
from worker.settings import celery_broker
from worker.settings.settings import load_settings
from worker.wakeup import broker

#: what names the command line of our own processes; the broker, the S3 server and the provider are not ours
_ROLES = {"webhook": "receiver", "webhook.api": "API", "worker": "worker", "clock": "clock"}


@dataclass(frozen=True)
class Machine:
    services: Services

    def processes(self) -> list[psutil.Process]:
        """Receiver, API, worker and clock, with their children."""
        return [one for one in psutil.Process().children(recursive=True) if _role(one)]

    def cpu_seconds(self) -> float:
        """What they have used since they were started, children that ended included."""
        return sum(cpu_seconds(one) for one in self.processes())

    def memory(self) -> dict[str, int]:
        """Proportional set size in bytes: what two processes share counts half for each."""
        sizes = dict.fromkeys(_ROLES.values(), 0)
        for one in self.processes():
            sizes[str(_role(one))] += one.memory_full_info().pss
        return sizes


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


@contextmanager
def machine(given: Mapping[str, str], *, delay: float = 0.2, **settings: str) -> Iterator[Machine]:
    """Started from nothing in a temporary folder, and gone afterwards; the provider takes `delay` seconds."""
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        provider = free_port()
        env = without_services(given) | {
            "DARKROOM_DATA": folder,
            "HOST": LOOPBACK,
            "PORT": str(port := free_port()),
            "API_PORT": str(free_port()),
            "PUBLIC_URL": f"http://{LOOPBACK}:{port}",
            "ACEDATACLOUD_BASE_URL": f"http://{LOOPBACK}:{provider}",
            "ACEDATACLOUD_API_TOKEN": "any",
            "DARKROOM_DOWNLOAD_ALLOW": LOOPBACK,
            "LOG_LEVEL": "WARNING",
            **settings,
        }
        with embedded(Path(folder), env, say=_quietly, on_output=_quietly) as running:
            options = ("--port", str(provider), "--delay", str(delay), "--size", "16", "--quiet")
            command = (sys.executable, "-m", "webhook.sandbox", *options)
            ready = partial(http_answers, LOOPBACK, provider, "/livez")
            running.supervisor.start(Child(name="sandbox", argv=command, env=running.env, ready=ready))
            running.start_procfile(procfile_commands())
            use_environment(running.env)
            services = Services(load_settings())
            # They keep to the broker of an earlier machine of this process.
            app.conf.broker_url = celery_broker(services.settings.redis_url).url
            app.amqp._producer_pool = None
            broker.cache_clear()
            pools.reset()
            try:
                yield Machine(services)
            finally:
                services.close()


def _role(process: psutil.Process) -> str | None:
    try:
        words = process.cmdline()
    except psutil.NoSuchProcess:
        return None
    # `-n worker.4711@%h`, and `-m webhook`.
    names = (
        word.partition(".")[0] if word.endswith("@%h") else word for word in words if word not in {"worker", "clock"}
    )
    return next((_ROLES[name] for name in names if name in _ROLES), None)


def _quietly(*_: str) -> None:
    pass
