"""Hands events to subscribers: as signed webhooks, to Celery tasks by name, and to Redis streams."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from tasks.neighbours import call_neighbour, connected_to_neighbours
from worker.ledger.database import Clock
from worker.secrets import redact
from worker.settings import Settings
from worker.subscribers import (
    CeleryTask,
    Format,
    Line,
    RedisStream,
    Refusal,
    Reply,
    Subscriber,
    Webhook,
    WebhookSigner,
    signed_request,
    slack_message,
    without_address,
)

#: takes a document of `tasks.usecases.views.of_event`
Send = Callable[[Mapping[str, Any]], Reply]

#: entries that a stream keeps, as good as: the oldest go first, whether they were read or not
STREAM_LENGTH = 10_000


@contextmanager
def sending_to(subscriber: Subscriber, settings: Settings, clock: Clock) -> Iterator[Send]:
    """Open a connection to a subscriber; the events keep their id however often they are sent."""
    if isinstance(subscriber, Webhook):
        ours = settings.darkroom_notify_secret
        secret = ",".join(subscriber.secrets or ()) or (ours.get_secret_value() if ours else "")
        with Line(subscriber.url) as line:
            yield partial(_post, line, subscriber, WebhookSigner(secret), clock)
    elif isinstance(subscriber, RedisStream):
        with connected_to_neighbours(subscriber.url) as connection:
            yield partial(_append, connection, subscriber)
    else:
        with connected_to_neighbours() as connection:
            yield partial(_call, connection, subscriber)


def _post(line: Line, webhook: Webhook, signer: WebhookSigner, clock: Clock, document: Mapping[str, Any]) -> Reply:
    content = slack_message(document) if webhook.format is Format.SLACK else None
    reply = line.post(*signed_request(signer, document, clock(), content))
    return Reply(reply.refusal, reply.status, redact(without_address(reply.text, webhook.url)))


def _call(connection: Any, subscriber: CeleryTask, document: Mapping[str, Any]) -> Reply:
    try:
        call_neighbour(connection, subscriber.task, subscriber.queue, document, task_id=document["id"])
    except Exception as error:  # noqa: BLE001  or an error that nobody expected would hold up this subscriber for good
        return Reply(Refusal(f"the broker refused it: {redact(str(error))}"))
    return Reply()


def _append(connection: Any, subscriber: RedisStream, document: Mapping[str, Any]) -> Reply:
    fields = {"id": document["id"], "type": document["type"], "event": json.dumps(document, ensure_ascii=False)}
    try:
        connection.default_channel.client.xadd(subscriber.stream, fields, maxlen=STREAM_LENGTH, approximate=True)
    except Exception as error:  # noqa: BLE001  as above
        return Reply(Refusal(f"Redis refused it: {redact(str(error))}"))
    return Reply()
