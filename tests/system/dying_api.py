"""The private process, which dies once between the commit of a creation and its answer."""

import os
import signal
from pathlib import Path

from flask import Flask

from tests.crashing import Step
from webhook.api import app


def create_app() -> Flask:
    died = Path(os.environ["DIED"])

    def die() -> None:
        if not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    Step("after", "worker.ledger.generations.create", "Creation.create_once").replace(die)
    return app.create_app()
