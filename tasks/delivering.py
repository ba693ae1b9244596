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
    NotifyOrigin,
    NotifyRule,
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

#: takes a document from `tasks.usecases.views.of_event` and, for an origin, the event's own address
Send = Callable[[Mapping[str, Any], str | None], Reply]

#: approximate number of entries that a stream keeps; the oldest are dropped first, read or not
STREAM_LENGTH = 10_000


@contextmanager
def sending_to(subscriber: Subscriber, settings: Settings, clock: Clock) -> Iterator[Send]:
    """Open a connection to a subscriber; events keep their ids however often they are sent."""
    ours = settings.darkroom_notify_secret
    our_secret = ours.get_secret_value() if ours else ""
    if isinstance(subscriber, Webhook):
        signer = WebhookSigner(",".join(subscriber.secrets or ()) or our_secret)
        with Line(subscriber.url) as line:
            yield lambda document, _: _post(line, subscriber, signer, clock, document)
    elif isinstance(subscriber, NotifyOrigin):
        rule, signer = NotifyRule(settings.darkroom_notify_allow), WebhookSigner(our_secret)
        with Line(subscriber.url, rule.guard) as line:
            yield partial(_post_to_address, line, rule, signer=signer, clock=clock)
    elif isinstance(subscriber, RedisStream):
        with connected_to_neighbours(subscriber.url) as connection:
            yield lambda document, _: _append(connection, subscriber, document)
    else:
        with connected_to_neighbours() as connection:
            yield lambda document, _: _call(connection, subscriber, document)


def _post(line: Line, webhook: Webhook, signer: WebhookSigner, clock: Clock, document: Mapping[str, Any]) -> Reply:
    content = slack_message(document) if webhook.format is Format.SLACK else None
    reply = line.post(*signed_request(signer, document, clock(), content))
    return _without(webhook.url, reply)


def _post_to_address(
    line: Line, rule: NotifyRule, document: Mapping[str, Any], url: str | None, *, signer: WebhookSigner, clock: Clock
) -> Reply:
    assert url is not None, "an event of an origin has an address"  # noqa: S101
    try:
        # The setting may have changed since the submission.
        rule.read(url)
    except ValueError as error:
        return Reply(Refusal(f"its address {error}"))
    return _without(url, line.post(*signed_request(signer, document, clock()), url))


def _without(url: str, reply: Reply) -> Reply:
    return Reply(reply.refusal, reply.status, redact(without_address(reply.text, url)))


def _call(connection: Any, subscriber: CeleryTask, document: Mapping[str, Any]) -> Reply:
    try:
        call_neighbour(connection, subscriber.task, subscriber.queue, document, task_id=document["id"])
    except Exception as error:  # noqa: BLE001  otherwise an unexpected error would block this subscriber for good
        return Reply(Refusal(f"the broker refused it: {redact(str(error))}"))
    return Reply()


def _append(connection: Any, subscriber: RedisStream, document: Mapping[str, Any]) -> Reply:
    fields = {"id": document["id"], "type": document["type"], "event": json.dumps(document, ensure_ascii=False)}
    try:
        connection.default_channel.client.xadd(subscriber.stream, fields, maxlen=STREAM_LENGTH, approximate=True)
    except Exception as error:  # noqa: BLE001  as above
        return Reply(Refusal(f"Redis refused it: {redact(str(error))}"))
    return Reply()
