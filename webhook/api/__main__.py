"""The private process (`python -m webhook.api`): the HTTP API on API_HOST and API_PORT."""

import os
import sys

from granian import Granian
from granian.constants import HTTPModes, Interfaces

from webhook.api.waiting import THREADS
from worker.errors import ConfigurationError
from worker.secrets import redact
from worker.settings import load_settings


def main() -> None:
    try:
        settings = load_settings()
    except ConfigurationError as error:
        sys.exit(redact(f"the API cannot start: {error}"))
    Granian(
        "webhook.api.app:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=settings.api_host,
        port=settings.api_port or int(os.environ.get("API_PORT") or 8001),
        http=HTTPModes.http1,
        workers=1,
        blocking_threads=THREADS,
        respawn_failed_workers=True,
        workers_kill_timeout=3,
        log_access=False,
    ).serve()


if __name__ == "__main__":
    main()
