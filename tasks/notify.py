"""Deliver recorded events to subscribers."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace

from tasks.delivering import Send, sending_to
from tasks.subscriptions import Subscription, subscriptions_of
from tasks.usecases import views
from tasks.usecases.events.place import EventPlace, event_place
from worker import telemetry
from worker.celery import app
from worker.errors import VersionTooOld
from worker.ledger.events import EventDelivery, Handed, NotifyClaim, Response
from worker.runtime import LEASE, renewed, shutdown
from worker.secrets import described
from worker.services import Services, services
from worker.steps import Step
from worker.subscribers import Refusal, Reply
from worker.wakeup import ring_if_due

log = logging.getLogger(__name__)

#: how many subscribers a worker serves at once, and for how long before the others get a turn
THREADS = 16
SLICE_SECONDS = 10.0
#: seconds for which a worker serves other subscribers while some hang, and between its checks for them
OTHERS_SECONDS = 20.0
LOOK_SECONDS = 0.1


@app.task(name=Step.NOTIFY)
def notify() -> None:
    """Deliver due events to each subscriber in order; a failing subscriber does not delay the others."""
    here = services()
    known = subscriptions_of(here.ledger, here.settings)
    # Failing subscribers come last and may hang: reserve half of the threads for the others, including those due later.
    claims = here.ledger.events.claim(known, THREADS // 2, LEASE)
    if not claims:
        return
    held = list(claims)
    # One try may outlast the lease.
    with renewed(lambda: here.ledger.events.renew(tuple(held), LEASE)), _pool() as pool:
        _serve_all(here, known, pool, held)
    ring_if_due(here.ledger, Step.NOTIFY)


def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="notify")


def _serve_all(
    here: Services, known: Mapping[str, Subscription], pool: ThreadPoolExecutor, held: list[NotifyClaim]
) -> None:
    """Serve the `held` subscribers and, while one of them is slow, healthy ones that become due."""
    ends = time.monotonic() + OTHERS_SECONDS
    running: dict[Future[None], NotifyClaim] = {}
    fresh = list(held)
    while True:
        running |= {pool.submit(serve, here, known[claim.subscriber], claim): claim for claim in fresh}
        if not running:
            return
        done, _ = wait(running, timeout=LOOK_SECONDS if time.monotonic() < ends else None, return_when=FIRST_COMPLETED)
        for one in done:
            claim = running.pop(one)
            held.remove(claim)
            if (error := one.exception()) is not None:
                log.error("events for %s wait", claim.subscriber, exc_info=error)
        room = THREADS - len(running)
        is_time = running and room and time.monotonic() < ends and not shutdown.is_asked()
        fresh = here.ledger.events.claim(known, room, LEASE, failing=False) if is_time else []
        held += fresh


def serve(here: Services, subscription: Subscription, claim: NotifyClaim) -> None:
    """Deliver to one subscriber until nothing is due, its time is over, or a delivery fails."""
    events = here.ledger.events
    place = event_place(here.settings, lambda: here.prices)
    if claim.is_origin:
        # Anyone who can submit chooses this address; that must not let them decide approvals.
        place = replace(place, approval_link=None)
    began = time.monotonic()
    ends = began + SLICE_SECONDS
    kinds: Counter[str] = Counter()
    handed: Handed | None = None
    # A version that is too old enqueues nothing more; the others can deliver at once.
    with suppress(VersionTooOld), sending_to(subscription.subscriber, here.settings, here.clock) as send:
        while True:
            goes_on = time.monotonic() < ends and not shutdown.is_asked()
            delivery = events.record_and_claim_next(claim, LEASE, handed, more=goes_on)
            handed = None
            if delivery is not None:
                handed = _handed(send, delivery, place)
                kinds["ok" if handed.error is None else "failed" if handed.final else "postponed"] += 1
            elif not goes_on or not events.enqueue_new(claim, subscription.wanted):
                break
    events.release(claim)
    if kinds:
        telemetry.step(Step.NOTIFY, kinds.total(), began, **kinds)


def _handed(send: Send, delivery: EventDelivery, place: EventPlace) -> Handed:
    began = time.monotonic()
    reply = _sent(send, delivery, place)
    seconds = round(time.monotonic() - began, 3)
    kept: dict[str, object] = {"status": reply.status, "reply": reply.text, "seconds": seconds}
    if (refusal := reply.refusal) is None:
        return Handed(delivery, response=Response(kept))
    response = Response(kept, refusal.retry_after, is_last=refusal.final)
    return Handed(delivery, refusal.reason, refusal.final, response)


def _sent(send: Send, delivery: EventDelivery, place: EventPlace) -> Reply:
    try:
        return send(views.of_event(delivery, place), delivery.address and delivery.address.url)
    except Exception as error:
        # This counts as a failed try, so an event that can never be sent becomes a dead letter like any other.
        log.exception("could not send event %d", delivery.event_id)
        return Reply(Refusal(f"could not send it: {described(error)}"))
