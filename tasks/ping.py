"""Show that a worker executes tasks."""

from worker.celery import app
from worker.steps import Step


@app.task(name=Step.PING)
def ping() -> None:
    """Do nothing: every task's base class writes the heartbeat."""
