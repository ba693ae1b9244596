"""All current subscribers: those that the settings declare, those that people added, and origins of submissions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from worker.ledger import Ledger
from worker.ledger.events import DeliveryFilter, KnownSubscriber
from worker.settings import Settings
from worker.subscribers import (
    CeleryTask,
    Format,
    NotifyOrigin,
    RedisStream,
    Subscriber,
    Webhook,
    is_wanted,
    patterns,
    redis_stream,
)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscriber and what it gets. `types`: patterns, one of which an event must match."""

    subscriber: Subscriber
    types: Sequence[str]
    wanted: DeliveryFilter


def subscriptions_of(ledger: Ledger, settings: Settings) -> dict[str, Subscription]:
    """Return all subscriptions, by name. Raises LedgerUnavailable."""
    everything = patterns(settings.darkroom_notify_events)
    declared = {one.name: _subscription(one, everything) for one in settings.subscribers}
    rows = ledger.events.added_subscribers()
    # Without a secret nothing can be signed, so their events wait.
    is_signed = settings.darkroom_notify_secret is not None
    return declared | {row.name: added(row) for row in rows if row.origin is None or is_signed}


def added(row: KnownSubscriber) -> Subscription:
    """Return a subscriber that a person added, or an origin of addresses that submissions named."""
    if row.origin is not None:
        return Subscription(NotifyOrigin(row.name, row.origin), ["*"], DeliveryFilter(by_address=True))
    labels = row.labels or {}
    return _subscription(_subscriber(row), row.types or ["*"], batch=row.batch, provider=row.provider, labels=labels)


def _subscription(subscriber: Subscriber, types: Sequence[str], **selected: object) -> Subscription:
    wanted = DeliveryFilter(is_wanted=partial(is_wanted, wanted=types), **selected)  # type: ignore[arg-type]
    return Subscription(subscriber, types, wanted)


def _subscriber(row: KnownSubscriber) -> Subscriber:
    address = row.address or ""
    if row.kind == "task":
        return CeleryTask(row.name, address, row.queue or "")
    if row.kind == "stream":
        stream = redis_stream(row.name, address)
        return RedisStream(row.name, stream.stream, stream.url)
    return Webhook(row.name, address, tuple(row.secrets or ()), Format(row.format or Format.STANDARD))
