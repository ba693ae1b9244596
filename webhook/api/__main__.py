"""The private process (`python -m webhook.api`): the HTTP API on API_HOST and API_PORT.

There is no access log: each write is logged where it is done.
"""

import ipaddress
import logging
import os
import sys

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from webhook.api.server import OneProcess
from webhook.waiting import THREADS
from worker.errors import ConfigurationError
from worker.secrets import configure_logging, redact
from worker.services import secret_values
from worker.settings import api_address, api_environment, load_settings, url_of, use_env_file

log = logging.getLogger("webhook.api")

#: connections, including idle ones; further ones wait in the kernel until others close
_CONNECTIONS = 1024
#: bytes of a request's header, and of the part of a body that is read ahead
_BUFFER = 64 * 1024
#: seconds that in-flight requests have to finish when the process stops
_STOP_SECONDS = 3

#: read when a program starts. By default, glibc's allocator keeps an arena for each thread and, after a large file was
#: read, the memory of later ones too: together some 15 MB. Source columns, for tracebacks, take 1 MB.
_MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072", "PYTHONNODEBUGRANGES": "1"}
#: seconds that a busy thread keeps the interpreter from the others. Each database query releases it, and with Python's
#: default of 5 ms a request would wait that long to get it back, many times over.
_SWITCH_SECONDS = 0.0005


def main() -> None:
    try:
        use_env_file()
        # The environment of this process stays readable in /proc until another program replaces it.
        if (env := _MEMORY | api_environment(os.environ)) != os.environ:
            os.execve(sys.executable, sys.orig_argv, env)  # noqa: S606  ourselves, without a shell
        settings = load_settings()
        # As settings, because the answers depend on where the process listens.
        os.environ.update(api_address(os.environ))
        # Checked here: an error at startup is more useful than a 503 for each request.
        configure_logging(settings.log_level, secret_values(settings), settings.log_format)
    except ConfigurationError as error:
        sys.exit(redact(f"the API cannot start: {error}"))
    host, port = os.environ["API_HOST"], int(os.environ["API_PORT"])
    server = OneProcess(
        "webhook.api.server:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        http=HTTPModes.http1,
        blocking_threads=THREADS,
        backpressure=_CONNECTIONS,
        workers_kill_timeout=_STOP_SECONDS,
        # Disconnects a client that sends its headers too slowly, or not at all.
        http1_settings=HTTP1Settings(header_read_timeout=5000, max_buffer_size=_BUFFER),
        log_access=False,
    )
    log.info("%s", _where(host, port))
    sys.setswitchinterval(_SWITCH_SECONDS)
    server.serve()


def _where(host: str, port: int) -> str:
    if ipaddress.ip_address(host).is_loopback:
        return f"the API is at {url_of(host, port)}: this machine needs no token and no login"
    return (
        f"the API is at {url_of(host, port)}: programs need a token (`darkroom token create`), and people a login "
        "(`darkroom user add`)"
    )


if __name__ == "__main__":
    main()
