"""The receiver's server (`python -m webhook`): granian, with what its processes share imported once before they fork.

HOST and PORT say where it listens. An access log would hold the tokens of callback URLs, so there is none.
"""

import gc
import os
import sys
from importlib import import_module

from granian import Granian
from granian.constants import Interfaces
from granian.http import HTTP1Settings

from worker.errors import ConfigurationError
from worker.services import services

#: shared by the processes, which takes 70 MB less than importing them in each
_SHARED = ("webhook.app", "worker.bells")
#: of one process, idle ones too; more than that wait in the kernel until others are closed
_CONNECTIONS = 1024


def main() -> None:
    try:
        for module in _SHARED:
            import_module(module)
        here = services()
        # Each raises for what it cannot be made of; a process that cannot start would be started again and again.
        _ = here.signer, here.ledger
    except ConfigurationError as error:
        sys.exit(f"the receiver cannot start: {error}")
    # The garbage collector would copy the shared pages by touching them.
    gc.collect()
    gc.freeze()
    Granian(
        "webhook.app:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=os.environ.get("HOST") or "0.0.0.0",  # noqa: S104  providers call from outside
        port=int(os.environ.get("PORT") or 8000),
        workers=2,
        # A client that sends half a body holds a thread until it hangs up, and the server has no time limit for that.
        # So there may be a thread for every connection: a thread that waits costs 100 kB.
        blocking_threads=_CONNECTIONS,
        backpressure=_CONNECTIONS,
        # Without it the death of one process would end the server.
        respawn_failed_workers=True,
        # Half a body must not hold up a stop: a process manager kills after 5 seconds.
        workers_kill_timeout=3,
        # A client that drips its headers is let go.
        http1_settings=HTTP1Settings(header_read_timeout=5000),
        log_access=False,
    ).serve()


if __name__ == "__main__":
    main()
