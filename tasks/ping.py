"""Show that a worker executes tasks."""

from worker.celery import app
from worker.steps import Step


@app.task(name=Step.PING)
def ping() -> None:
    """Do nothing: the heartbeat is written by the base class of every task."""
