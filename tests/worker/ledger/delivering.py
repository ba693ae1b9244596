"""What a worker does with the subscriber that it has claimed."""

from collections.abc import Callable

from tests.factories import LEASE
from worker.ledger import Ledger
from worker.ledger.events import DeliveryFilter, EventDelivery, Handed, NotifyClaim


def hand_over(
    ledger: Ledger, mine: NotifyClaim, send: Callable[[EventDelivery], Handed], wanted: DeliveryFilter
) -> list[EventDelivery]:
    """Hand over what is due, as `tasks.notify` does, and release it; what was tried."""
    tried: list[EventDelivery] = []
    handed = None
    while True:
        delivery = ledger.events.record_and_claim_next(mine, LEASE, handed)
        handed = None
        if delivery is not None:
            tried.append(delivery)
            handed = send(delivery)
        elif not ledger.events.enqueue_new(mine, wanted):
            ledger.events.release(mine)
            return tried
