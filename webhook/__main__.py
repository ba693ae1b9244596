"""The receiver's server (`python -m webhook`): granian, which imports shared modules once, before it forks.

HOST and PORT set the address. There is no access log, because it would contain the tokens of callback URLs.
"""

import gc
import os
import resource
import sys
from importlib import import_module

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from worker.errors import ConfigurationError
from worker.secrets import redact
from worker.services import services
from worker.settings import receiver_environment, use_env_file

#: connections per process, including idle ones; further ones wait in the kernel until others close
_CONNECTIONS = 4096
#: concurrent requests per process, one thread each: the server has no time-out for bodies, so an incomplete body
#: occupies a thread until its sender hangs up; a waiting thread costs 100 kB
_THREADS = 1024
#: file descriptors per process that are not client connections: ledger, broker, logs
_OTHER_FILES = 100
#: bytes of a request's header, and of the part of a body that is read ahead
_BUFFER = 64 * 1024


def main() -> None:
    try:
        use_env_file()
    except ConfigurationError as error:
        sys.exit(redact(f"the receiver cannot start: {error}"))
    # The environment of this process stays readable in /proc until another program replaces it.
    if (env := receiver_environment(os.environ)) != os.environ:
        os.execve(sys.executable, sys.orig_argv, env)  # noqa: S606  ourselves, without a shell
    try:
        # Sharing it between the processes saves 70 MB for each.
        import_module("webhook.app")
        here = services()
        # Each raises on invalid settings. Checked here, because a process that cannot start would be restarted forever.
        _ = here.signer, here.ledger
    except ConfigurationError as error:
        sys.exit(redact(f"the receiver cannot start: {error}"))
    # The garbage collector would copy the shared pages by touching them.
    gc.collect()
    gc.freeze()
    Granian(
        "webhook.app:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=os.environ.get("HOST") or "0.0.0.0",  # noqa: S104  providers call from outside
        port=int(os.environ.get("PORT") or 8000),
        # Only this mode has a time-out for clients that stay silent, or that open HTTP/2 and then stall.
        http=HTTPModes.http1,
        workers=2,
        blocking_threads=_THREADS,
        backpressure=max(1, min(_CONNECTIONS, _open_files() - _OTHER_FILES)),
        # Without it the death of one process would end the server.
        respawn_failed_workers=True,
        # An incomplete body must not delay shutdown: a process manager kills after 5 seconds.
        workers_kill_timeout=3,
        # Disconnects a client that sends its headers too slowly, or not at all.
        http1_settings=HTTP1Settings(header_read_timeout=5000, max_buffer_size=_BUFFER),
        log_access=False,
    ).serve()


def _open_files() -> int:
    """Raise the limit on open files as far as possible and return it."""
    enough = _CONNECTIONS + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return enough
    # macOS reports an unlimited hard limit, but does not accept that value.
    most = max(soft, enough if hard == resource.RLIM_INFINITY else hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


if __name__ == "__main__":
    main()
