"""Calls Celery tasks of other applications on the broker."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kombu.entity import Queue

from worker.celery import app

# Our own queues have a prefix, so other applications' workers do not read them.
_NO_PREFIX = {"global_keyprefix": ""}


@contextmanager
def connected_to_neighbours(url: str | None = None) -> Iterator[Any]:
    """Open a connection whose messages other applications' workers read. `url`: of a Redis other than the broker."""
    with app.connection_for_write(url, transport_options=_NO_PREFIX) as connection:
        yield connection


def call_neighbour(
    connection: Any, task: str, queue: str, document: Mapping[str, Any], *, task_id: str, **options: Any
) -> None:
    """Send a document to a task. `task_id` lets it detect duplicates. Raises whatever the broker's client raises."""
    app.send_task(
        task,
        args=[document],
        task_id=task_id,
        queue=Queue(queue, routing_key=queue),  # type: ignore[no-untyped-call]
        connection=connection,
        ignore_result=True,
        **options,
    )
