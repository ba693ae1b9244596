"""The tables of notify: subscribers, their positions, and deliveries."""

from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, literal_column

from worker.ledger.schema.partial_index import partial_index
from worker.ledger.schema.tables import metadata
from worker.ledger.schema.types import CleanText, Json, UtcDateTime, in_states


class DeliveryState(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    #: abandoned after the last try
    DEAD = "dead"
    #: abandoned, and a person has dismissed it
    DISMISSED = "dismissed"


DELIVERY_MOVES: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.WAITING: frozenset({DeliveryState.DELIVERED, DeliveryState.DEAD}),
    # Only a person moves it back to WAITING.
    DeliveryState.DEAD: frozenset({DeliveryState.WAITING, DeliveryState.DISMISSED}),
    DeliveryState.DISMISSED: frozenset({DeliveryState.WAITING}),
    DeliveryState.DELIVERED: frozenset({DeliveryState.WAITING}),
}

# The conditions of the partial indexes, as text (see `tables.py`).
SUBSCRIBED = "left_at IS NULL"
UNDELIVERED = in_states("state", [DeliveryState.WAITING])
UNDELIVERABLE = in_states("state", [DeliveryState.DEAD])

subscribers = Table(
    "subscribers",
    metadata,
    Column("name", CleanText, primary_key=True),
    # Events up to this one have their deliveries; recording an event writes nothing here.
    Column("cursor", BigInteger, nullable=False),
    # When the settings stopped naming it, or when it was removed or disabled; it resumes where it stopped.
    Column("left_at", UtcDateTime),
    # Who delivers to it now: one worker at a time, to keep the order.
    Column("lease", CleanText),
    Column("lease_until", UtcDateTime),
    # Consecutive failures, after which deliveries pause for a while.
    Column("failures", Integer, nullable=False),
    Column("not_before", UtcDateTime),
    # webhook, task or stream; NULL, like the next columns, for one that the settings declare.
    Column("kind", CleanText),
    # A webhook's URL; a task's name; or a stream's name, or a URL whose fragment is its name.
    Column("address", CleanText),
    # Several while one replaces another.
    Column("secrets", Json),
    Column("format", CleanText),
    Column("queue", CleanText),
    # The event types that it receives; NULL: all.
    Column("types", Json),
    Column("batch", CleanText),
    Column("provider", CleanText),
    Column("labels", Json),
    Column("created_at", UtcDateTime),
    Column("created_by", CleanText),
    # Declared ones may be disabled as well.
    Column("disabled_at", UtcDateTime),
    Column("disabled_reason", CleanText),
    # Since when no delivery has succeeded.
    Column("failing_since", UtcDateTime),
    # Scheme, host and port, if it represents all addresses there that submissions named (`notify_addresses`). `kind` is
    # then NULL, too: a version that does not know origins must not send it what it sends to other subscribers.
    Column("origin", CleanText),
)
partial_index("ix_subscribers_here", subscribers.c.name, where=SUBSCRIBED)

# Addresses to which submissions want their own events sent.
notify_addresses = Table(
    "notify_addresses",
    metadata,
    # The id of a batch, or of a generation (then including all its follow-ups).
    Column("subject", CleanText, primary_key=True),
    # The subscriber of its origin.
    Column("subscriber", CleanText, ForeignKey("subscribers.name"), nullable=False),
    Column("url", CleanText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
Index("ix_notify_addresses_subscriber", notify_addresses.c.subscriber)
Index("ix_notify_addresses_created", notify_addresses.c.created_at, notify_addresses.c.subject)

deliveries = Table(
    "deliveries",
    metadata,
    Column("subscriber", CleanText, ForeignKey("subscribers.name"), primary_key=True),
    Column("event_id", BigInteger, ForeignKey("events.id"), primary_key=True, autoincrement=False),
    # `DeliveryState`
    Column("state", CleanText, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("not_before", UtcDateTime),
    # When it was accepted or dismissed.
    Column("delivered_at", UtcDateTime),
    Column("error", CleanText),
    # The last tries: time, status, start of the body, seconds, error.
    Column("replies", Json),
)
for _name, _condition in (("ix_deliveries_waiting", UNDELIVERED), ("ix_deliveries_dead", UNDELIVERABLE)):
    _columns = (deliveries.c.subscriber, deliveries.c.event_id)
    partial_index(_name, *_columns, where=_condition)
Index("ix_deliveries_event", deliveries.c.event_id)

#: the same condition for queries in which another table also has a column `state`
IS_UNDELIVERED = deliveries.c.state == literal_column(f"'{DeliveryState.WAITING}'")
