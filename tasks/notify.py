"""Deliver recorded events to subscribers: as signed webhooks, and to Celery tasks by name."""

import functools
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from kombu.entity import Queue

from worker import telemetry
from worker.archive import of_event
from worker.celery import app
from worker.errors import VersionTooOld
from worker.ledger.events import EventDelivery, Handed, NotifyClaim
from worker.runtime import LEASE, renewed, shutdown
from worker.secrets import described, redact
from worker.services import Services, services
from worker.steps import Step
from worker.subscribers import CeleryTask, Line, Refusal, Subscriber, Webhook, WebhookSigner, is_wanted, patterns
from worker.wakeup import ring_if_due

log = logging.getLogger(__name__)

#: how many subscribers a worker serves at once, and for how long before others get their turn
THREADS = 8
SLICE_SECONDS = 10.0

Send = Callable[[EventDelivery], Refusal | None]


@app.task(name=Step.NOTIFY)
def notify() -> None:
    """Deliver due events to each subscriber in order; a failing subscriber does not delay the others."""
    here = services()
    known = {subscriber.name: subscriber for subscriber in here.settings.subscribers}
    claims = here.ledger.events.claim(known, THREADS, LEASE)
    if not claims:
        return
    # One try may outlast the lease.
    held = renewed(lambda: here.ledger.events.renew(claims, LEASE))
    with held, ThreadPoolExecutor(len(claims), thread_name_prefix="notify") as pool:
        served = [pool.submit(serve, here, known[claim.subscriber], claim) for claim in claims]
    for claim, one in zip(claims, served, strict=True):
        if (error := one.exception()) is not None:
            log.error("events for %s wait", claim.subscriber, exc_info=error)
    ring_if_due(here.ledger, Step.NOTIFY)


def serve(here: Services, subscriber: Subscriber, claim: NotifyClaim) -> None:
    """Deliver to one subscriber until nothing is due, its time is over, or a delivery fails."""
    events = here.ledger.events
    wanted = functools.partial(is_wanted, wanted=patterns(here.settings.darkroom_notify_events))
    began = time.monotonic()
    ends = began + SLICE_SECONDS
    kinds: Counter[str] = Counter()
    handed: Handed | None = None
    # A version that is too old enqueues nothing more; others may deliver at once.
    with suppress(VersionTooOld), _sender(here, subscriber) as send:
        while True:
            goes_on = time.monotonic() < ends and not shutdown.is_asked()
            delivery = events.record_and_claim_next(claim, LEASE, handed, more=goes_on)
            handed = None
            if delivery is not None:
                refusal = _sent(send, delivery)
                handed = Handed(delivery, refusal.reason, refusal.final) if refusal else Handed(delivery)
                kinds["ok" if refusal is None else "failed" if refusal.final else "postponed"] += 1
            elif not goes_on or not events.enqueue_new(claim, wanted):
                break
    events.release(claim)
    if kinds:
        telemetry.step(Step.NOTIFY, kinds.total(), began, **kinds)


def _sent(send: Send, delivery: EventDelivery) -> Refusal | None:
    try:
        return send(delivery)
    except Exception as error:
        # This counts as a failed try, so an event that can never be sent becomes a dead letter like any other.
        log.exception("could not send event %d", delivery.event_id)
        return Refusal(f"could not send it: {described(error)}")


def message_id(delivery: EventDelivery) -> str:
    """Return the id, the same for each try; it contains the time, because a restored ledger reuses event numbers."""
    return f"evt_{delivery.event_id}_{int(delivery.at.timestamp() * 1000):x}"


def envelope(delivery: EventDelivery) -> dict[str, Any]:
    return of_event(
        type=delivery.type,
        at=delivery.at,
        generation_id=delivery.generation_id,
        batch_id=delivery.batch_id,
        about=delivery.about,
        payload=delivery.payload,
    )


@contextmanager
def _sender(here: Services, subscriber: Subscriber) -> Iterator[Send]:
    if isinstance(subscriber, Webhook):
        secret = here.settings.darkroom_notify_secret
        signer = WebhookSigner(secret.get_secret_value() if secret else "")
        with Line(subscriber.url) as line:
            yield functools.partial(_post, here, line, signer)
    else:
        # Messages to our own workers have a prefix; other applications' workers do not read those queues.
        with app.connection_for_write(transport_options={"global_keyprefix": ""}) as connection:
            yield functools.partial(_call, connection, subscriber)


def _post(here: Services, line: Line, signer: WebhookSigner, delivery: EventDelivery) -> Refusal | None:
    body = json.dumps(envelope(delivery), ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "Darkroom"}
    return line.post(body, headers | signer.headers(message_id(delivery), int(here.clock().timestamp()), body))


def _call(connection: Any, subscriber: CeleryTask, delivery: EventDelivery) -> Refusal | None:
    try:
        app.send_task(
            subscriber.task,
            args=[envelope(delivery)],
            # Lets a task detect duplicates.
            task_id=message_id(delivery),
            queue=Queue(subscriber.queue, routing_key=subscriber.queue),  # type: ignore[no-untyped-call]
            connection=connection,
            ignore_result=True,
        )
    except Exception as error:  # noqa: BLE001  or an error that nobody expected would hold up this subscriber for good
        return Refusal(f"the broker refused it: {redact(str(error))}")
    return None
