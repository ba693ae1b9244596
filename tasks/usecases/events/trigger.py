"""Sends example events to test a receiver; nothing is recorded."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from tasks.delivering import sending_to
from tasks.shown import shown
from tasks.subscriptions import subscriptions_of
from tasks.usecases.events.forward import Answer, Forwarder
from tasks.usecases.events.published import EVENTS, example_of
from tasks.usecases.events.resend import NO_SUBSCRIBER, subscriber_names
from tasks.usecases.services import LedgerServices
from worker.errors import NotFound, RequestInvalid
from worker.subscribers import NotifyOrigin

#: the error for an origin
NO_ADDRESS = (
    "{name!r} stands for addresses that submissions named, and has none of its own: `darkroom events trigger TYPE --to "
    "URL` sends an example to one"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRequest:
    """An example of this type, to an address (`to`), to one subscriber, or to all of them. Raises RequestInvalid."""

    type: str
    to: str | None = None
    subscriber: str | None = None

    def __post_init__(self) -> None:
        if self.to is not None and self.subscriber is not None:
            raise RequestInvalid("give either --to or --subscriber")
        if self.type not in EVENTS:
            raise RequestInvalid(f"unknown event type {shown(self.type)!r}; expected one of {', '.join(EVENTS)}")


@dataclass(frozen=True, slots=True)
class Triggered:
    """`secret`: the one that signed it, if that is not DARKROOM_NOTIFY_SECRET."""

    to: str
    event: dict[str, Any]
    answer: Answer
    secret: str | None = None


def trigger(here: LedgerServices, request: TriggerRequest) -> Iterator[Triggered]:
    """Send the example to each at once, one after another; it is marked `"test": true`.

    Raises NotFound for an unknown subscriber, or if there is none; RequestInvalid for an unusable address.
    """
    event = example(here, request.type)
    if request.to is not None:
        with Forwarder(here, request.to) as forwarder:
            yield Triggered("the address", event, forwarder.send(event), forwarder.secret)
        return
    names = subscriber_names(here, request.subscriber)
    known = subscriptions_of(here.ledger, here.settings)
    # Origins have no address of their own.
    with_address = [name for name in names if not isinstance(known[name].subscriber, NotifyOrigin)]
    if not with_address and request.subscriber is None:
        raise NotFound(NO_SUBSCRIBER)
    if not with_address:
        raise RequestInvalid(NO_ADDRESS.format(name=request.subscriber))
    for name in with_address:
        with ExitStack() as stack:
            reply = stack.enter_context(sending_to(known[name].subscriber, here.settings, here.clock))(event, None)
        yield Triggered(name, event, Answer.of(reply))


def example(here: LedgerServices, event_type: str) -> dict[str, Any]:
    """Return an example of an event with the current time, marked as a test."""
    timestamp = here.clock().isoformat(timespec="microseconds").replace("+00:00", "Z")
    made = {**example_of(event_type), "id": f"evt_test_{token_hex(8)}", "timestamp": timestamp}
    return {"test": True, **made}
