"""The private process, which dies once: after the commit of a creation, or at the step that DIES names."""

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

    step = os.environ.get("DIES", "after worker.ledger.generations.create Creation.create_once")
    Step(*step.split()).replace(die)
    return app.create_app()
