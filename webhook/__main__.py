"""The receiver's server (`python -m webhook`): granian, with what its processes share imported once before they fork.

HOST and PORT say where it listens. An access log would hold the tokens of callback URLs, so there is none.
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

#: of one process, idle ones too; more than that wait in the kernel until others are closed
_CONNECTIONS = 4096
#: requests of one process at once, each in a thread: half a body holds one until its sender hangs up, for the server
#: has no time limit for bodies; a thread that waits costs 100 kB
_THREADS = 1024
#: of one process, for all that is no connection of a client: ledger, broker, logs
_OTHER_FILES = 100
#: bytes of a request's header, and of what is read ahead of a body
_BUFFER = 64 * 1024


def main() -> None:
    try:
        use_env_file()
    except ConfigurationError as error:
        sys.exit(redact(f"the receiver cannot start: {error}"))
    # What this process was started with stays readable in /proc until another program takes its place.
    if (env := receiver_environment(os.environ)) != os.environ:
        os.execve(sys.executable, sys.orig_argv, env)  # noqa: S606  ourselves, without a shell
    try:
        # Shared by the processes, which takes 70 MB less than importing it in each.
        import_module("webhook.app")
        here = services()
        # Each raises for what it cannot be made of; a process that cannot start would be started again and again.
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
        # No other mode has a time limit for a client that is silent, or that begins with HTTP/2 and never goes on.
        http=HTTPModes.http1,
        workers=2,
        blocking_threads=_THREADS,
        backpressure=max(1, min(_CONNECTIONS, _open_files() - _OTHER_FILES)),
        # Without it the death of one process would end the server.
        respawn_failed_workers=True,
        # Half a body must not hold up a stop: a process manager kills after 5 seconds.
        workers_kill_timeout=3,
        # A client that drips its headers, or sends none, is let go.
        http1_settings=HTTP1Settings(header_read_timeout=5000, max_buffer_size=_BUFFER),
        log_access=False,
    ).serve()


def _open_files() -> int:
    """How many files a process may have open, after that was raised as far as it goes."""
    enough = _CONNECTIONS + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return enough
    # macOS calls the hard one unlimited, and takes no such number.
    most = max(soft, enough if hard == resource.RLIM_INFINITY else hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


if __name__ == "__main__":
    main()
