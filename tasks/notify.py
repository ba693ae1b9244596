"""Deliver recorded events to subscribers."""

import functools
import logging
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tasks.delivering import Send, sending_to
from tasks.usecases import views
from tasks.usecases.events.place import EventPlace, event_place
from worker import telemetry
from worker.celery import app
from worker.errors import VersionTooOld
from worker.ledger.events import EventDelivery, Handed, NotifyClaim
from worker.runtime import LEASE, renewed, shutdown
from worker.secrets import described
from worker.services import Services, services
from worker.steps import Step
from worker.subscribers import Refusal, Subscriber, is_wanted, patterns
from worker.wakeup import ring_if_due

log = logging.getLogger(__name__)

#: how many subscribers a worker serves at once, and for how long before others get their turn
THREADS = 8
SLICE_SECONDS = 10.0


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
    place = event_place(here.settings, lambda: here.prices)
    wanted = functools.partial(is_wanted, wanted=patterns(here.settings.darkroom_notify_events))
    began = time.monotonic()
    ends = began + SLICE_SECONDS
    kinds: Counter[str] = Counter()
    handed: Handed | None = None
    # A version that is too old enqueues nothing more; others may deliver at once.
    with suppress(VersionTooOld), sending_to(subscriber, here.settings, here.clock) as send:
        while True:
            goes_on = time.monotonic() < ends and not shutdown.is_asked()
            delivery = events.record_and_claim_next(claim, LEASE, handed, more=goes_on)
            handed = None
            if delivery is not None:
                refusal = _sent(send, delivery, place)
                handed = Handed(delivery, refusal.reason, refusal.final) if refusal else Handed(delivery)
                kinds["ok" if refusal is None else "failed" if refusal.final else "postponed"] += 1
            elif not goes_on or not events.enqueue_new(claim, wanted):
                break
    events.release(claim)
    if kinds:
        telemetry.step(Step.NOTIFY, kinds.total(), began, **kinds)


def _sent(send: Send, delivery: EventDelivery, place: EventPlace) -> Refusal | None:
    try:
        return send(views.of_event(delivery, place))
    except Exception as error:
        # This counts as a failed try, so an event that can never be sent becomes a dead letter like any other.
        log.exception("could not send event %d", delivery.event_id)
        return Refusal(f"could not send it: {described(error)}")
