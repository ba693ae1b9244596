"""Hands events to subscribers: as signed webhooks, and to Celery tasks by name."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kombu.entity import Queue

from worker.celery import app
from worker.ledger.database import Clock
from worker.secrets import redact
from worker.settings import Settings
from worker.subscribers import CeleryTask, Line, Refusal, Subscriber, Webhook, WebhookSigner, signed_request

#: takes a document of `tasks.usecases.views.of_event`
Send = Callable[[Mapping[str, Any]], Refusal | None]


@contextmanager
def sending_to(subscriber: Subscriber, settings: Settings, clock: Clock) -> Iterator[Send]:
    """Open a connection to a subscriber; the events keep their id however often they are sent."""
    if isinstance(subscriber, Webhook):
        secret = settings.darkroom_notify_secret
        signer = WebhookSigner(secret.get_secret_value() if secret else "")
        with Line(subscriber.url) as line:
            yield functools.partial(_post, line, signer, clock)
    else:
        # Messages to our own workers have a prefix; other applications' workers do not read those queues.
        with app.connection_for_write(transport_options={"global_keyprefix": ""}) as connection:
            yield functools.partial(_call, connection, subscriber)


def _post(line: Line, signer: WebhookSigner, clock: Clock, document: Mapping[str, Any]) -> Refusal | None:
    return line.post(*signed_request(signer, document, clock()))


def _call(connection: Any, subscriber: CeleryTask, document: Mapping[str, Any]) -> Refusal | None:
    try:
        app.send_task(
            subscriber.task,
            args=[document],
            # Lets a task detect duplicates.
            task_id=document["id"],
            queue=Queue(subscriber.queue, routing_key=subscriber.queue),  # type: ignore[no-untyped-call]
            connection=connection,
            ignore_result=True,
        )
    except Exception as error:  # noqa: BLE001  or an error that nobody expected would hold up this subscriber for good
        return Refusal(f"the broker refused it: {redact(str(error))}")
    return None
