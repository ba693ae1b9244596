"""Caddy as deploy/Caddyfile configures it, before a receiver: with a certificate of its own CA."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.patience import patient, wait_for
from worker.embedded.servers import LOOPBACK, free_port

CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"
PROGRAM = Path(sys.executable).parent / "caddy"


@dataclass(frozen=True)
class Caddy:
    port: int
    plain_port: int
    log: Path
    context: ssl.SSLContext

    def connect(self) -> ssl.SSLSocket:
        """A TLS connection whose certificate is checked."""
        connection = socket.create_connection((LOOPBACK, self.port), timeout=patient(60))
        return self.context.wrap_socket(connection, server_hostname="localhost")


@contextmanager
def caddy_before(receiver_port: int, folder: Path) -> Iterator[Caddy]:
    port, plain_port, log = free_port(), free_port(), folder / "caddy.log"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder),
        "PUBLIC_HOST": "localhost",
        "RECEIVER": f"{LOOPBACK}:{receiver_port}",
        "CADDY_HTTP_PORT": str(plain_port),
        "CADDY_HTTPS_PORT": str(port),
    }
    with (
        log.open("wb") as output,
        subprocess.Popen([PROGRAM, "run", "--config", CADDYFILE], env=env, stdout=output, stderr=output) as process,
    ):
        try:
            root = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
            assert wait_for(lambda: root.exists() and _has_certificate(port, root), seconds=30), log.read_text()
            yield Caddy(port, plain_port, log, ssl.create_default_context(cafile=str(root)))
        finally:
            process.terminate()
            process.wait(patient(20))


def _has_certificate(port: int, root: Path) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
            ssl.create_default_context(cafile=str(root)).wrap_socket(connection, server_hostname="localhost").close()
    except OSError:
        return False
    return True
