"""One-machine mode: a broker, an S3 server and the Procfile's processes as children of one command, in one data folder.

In the data folder: `broker/` (the queue), `s3/darkroom/` (the assets, as plain files), `secrets.json` (kept between
runs), `running.json` (how other commands reach the servers; only while they run), `darkroom.lock`.
"""

import json
import os
import re
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

from worker.embedded.data_folder import (
    SECRETS,
    folder_errors,
    kept_secrets,
    read_values,
    running_since,
    sole_use,
    write_private,
)
from worker.embedded.processes import Child, OnOutput, Supervisor, print_line
from worker.embedded.servers import LOOPBACK, Server, broker, http_answers, s3_server
from worker.errors import ConfigurationError
from worker.secrets import make_private_folder
from worker.settings import api_address, api_environment, receiver_address, receiver_environment

RUNNING = "running.json"
#: the Procfile's processes that run without some of the secrets
_LEAST = {"release": receiver_environment, "web": receiver_environment, "api": api_environment}
#: processes that listen, with the settings for their host and port
_LISTENING = {"web": ("HOST", "PORT"), "api": ("API_HOST", "API_PORT")}
#: addresses that stand for all interfaces → the loopback address to connect to
_EVERYWHERE = {"0.0.0.0": LOOPBACK, "::": "::1"}  # noqa: S104 - compared, not bound
PACKAGES = ("webhook", "tasks", "worker")


@dataclass(frozen=True)
class Embedded:
    """The running servers. `env` is the environment for child processes and clients."""

    env: Mapping[str, str]
    supervisor: Supervisor
    say: Callable[[str], None]

    def start_procfile(self, commands: Mapping[str, str]) -> None:
        """Run `release` to its end, then start the others and return once all are ready; else ConfigurationError."""
        children = {
            name: Child(name=name, argv=("/bin/sh", "-c", command), env=_LEAST.get(name, dict)(self.env))
            for name, command in commands.items()
        }
        if release := children.pop("release", None):
            self.say("preparing the ledger")
            self.supervisor.run(release)
        for name in children.keys() & _LISTENING:
            host, port = (self.env[setting] for setting in _LISTENING[name])
            answers = partial(http_answers, _EVERYWHERE.get(host, host), int(port), "/livez")
            children[name] = replace(children[name], ready=answers)
        self.say(f"starting {', '.join(children)}")
        self.supervisor.start(*children.values())


@contextmanager
def embedded(
    data: Path,
    env: Mapping[str, str],
    *,
    say: Callable[[str], None],
    on_output: OnOutput = print_line,
    interrupted: Callable[[], bool] = lambda: False,
    others: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Embedded]:
    """Start the servers that `env` does not provide (REDIS_URL, S3_BUCKET), and stop every child at the end.

    `others`: additional variables for all children, and for other commands on this machine that do not set them.

    Raises ConfigurationError if the folder, the port or a server cannot be used; KeyboardInterrupt if `interrupted`
    returns True during the start.
    """
    data = data.absolute()
    _refuse_hidden_packages(Path.cwd())
    with ExitStack() as cleanup:
        with folder_errors(data):
            make_private_folder(data)
            cleanup.enter_context(sole_use(data))
            kept = kept_secrets(data)
        ours = {
            "DARKROOM_DATA": str(data),
            "PATH": os.pathsep.join(filter(None, (sysconfig.get_path("scripts"), env.get("PATH")))),
            "PYTHONUNBUFFERED": "1",  # the children write to pipes
            **receiver_address(env),
            **(api := api_address(env)),
        }
        servers: list[Server] = []
        with folder_errors(data):
            if not _is_given(env, "REDIS_URL"):
                servers.append(broker(data / "broker", kept["REDIS_PASSWORD"], env))
            if not _is_given(env, "S3_BUCKET"):
                servers.append(s3_server(data / "s3", kept["AWS_SECRET_ACCESS_KEY"], env))
        supervisor = cleanup.enter_context(Supervisor(on_output, interrupted))
        supervisor.start(*(server.child for server in servers))
        for server in servers:
            say(f"{server.child.name} is running; its files are in {server.folder}")
        found = {name: value for server in servers for name, value in server.found_by.items()} | dict(others)
        with folder_errors(data):
            cleanup.callback((data / RUNNING).unlink, missing_ok=True)
            write_private(data / RUNNING, json.dumps(found | api, indent=1))
        yield Embedded({**env, **ours, **attach(env, data)}, supervisor, say)


def attach(env: Mapping[str, str], data: Path) -> dict[str, str]:
    """Return the variables for reaching this data folder's servers, except those that `env` already sets.

    Returns {} for an unused folder. Raises ConfigurationError if a file of the folder cannot be read.
    """
    found = read_values(data / RUNNING)
    api = {name: found.pop(name) for name in ("API_HOST", "API_PORT") if name in found}
    if _is_given(env, "REDIS_URL"):
        found.pop("REDIS_URL", None)
    if _is_given(env, "S3_BUCKET"):
        found = {name: value for name, value in found.items() if not name.startswith(("AWS_", "S3_"))}
    if _is_given(env, "DARKROOM_SANDBOX_URL"):
        found.pop("DARKROOM_SANDBOX_URL", None)
    if found:
        # A corporate proxy cannot reach this machine's servers.
        direct = ",".join(filter(None, (env.get("no_proxy") or env.get("NO_PROXY"), LOOPBACK)))
        found |= {"no_proxy": direct, "NO_PROXY": direct}
    keys = read_values(data / SECRETS).get("DARKROOM_SIGNING_KEYS")
    if keys and not _is_given(env, "DARKROOM_SIGNING_KEYS"):
        found["DARKROOM_SIGNING_KEYS"] = keys
    return found | api


def is_stopped(env: Mapping[str, str], data: Path) -> bool:
    """Return whether servers that `env` does not replace have run in this folder but no longer run."""
    return (data / SECRETS).exists() and not _is_given(env, "REDIS_URL") and running_since(data) is None


def is_embedded_bucket(env: Mapping[str, str], data: Path) -> bool:
    """Return whether `env` names the S3 server that runs in this folder."""
    found = read_values(data / RUNNING)
    return bool(found) and all(env.get(name) == found.get(name) for name in ("S3_BUCKET", "AWS_ENDPOINT_URL_S3"))


def procfile_commands() -> dict[str, str]:
    """Return the Procfile's command lines by name. A wheel has the file in `worker/`, a checkout beside it."""
    worker = Path(__file__).parents[1]
    path = next((path for path in (worker / "Procfile", worker.parent / "Procfile") if path.is_file()), None)
    if path is None:
        raise ConfigurationError("the Procfile is missing from this installation: reinstall darkroom")
    return dict(re.findall(r"^([A-Za-z0-9_-]+):[ \t]*(.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def _refuse_hidden_packages(folder: Path) -> None:
    # Celery and granian import from the working folder first.
    for name in PACKAGES:
        if (folder / f"{name}.py").exists() or (folder / name / "__init__.py").exists():
            if (folder / "worker" / "embedded" / "machine.py").exists():
                return  # a checkout of Darkroom
            raise ConfigurationError(
                f"the Python module {name!r} in {folder} would hide Darkroom's: run the command in another folder"
            )


def _is_given(env: Mapping[str, str], name: str) -> bool:
    return bool(env.get(name) or env.get(f"{name}_FILE"))
