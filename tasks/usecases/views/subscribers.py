"""Subscribers and their deliveries, without addresses and secrets."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from worker.secrets import secrets_hidden

if TYPE_CHECKING:
    from tasks.usecases.subscribers import Added, DeliveryLog, ListedSubscriber, Tested

_SELECTED = ("batch", "provider", "labels", "format", "created_by", "disabled_reason")
_TIMES = ("created_at", "disabled_at", "failing_since")


def of_subscriber(one: "ListedSubscriber") -> dict[str, Any]:
    row = one.row
    found: dict[str, Any] = {
        "name": one.name,
        "kind": one.kind,
        "address": one.address,
        "declared": one.declared,
        "state": one.state,
        "types": list(one.types),
        **{name: getattr(row, name, None) for name in _SELECTED},
        "failures": row.failures if row else 0,
        "waiting": one.waiting,
        "addresses": one.addresses,
    }
    for name in _TIMES:
        at = getattr(row, name, None)
        found[name] = at.isoformat() if at else None
    if row is None or not row.failures:
        found["failing_since"] = None
    hidden: dict[str, Any] = secrets_hidden(found)
    return hidden


def of_added_subscriber(one: "Added") -> dict[str, Any]:
    """Return the subscriber with its secret, which is shown only this once."""
    return {**of_subscriber(one.listed), "secret": one.secret}


def of_shown_subscriber(one: "ListedSubscriber", deliveries: Sequence["DeliveryLog"]) -> dict[str, Any]:
    return {**of_subscriber(one), "deliveries": [of_delivery(delivery) for delivery in deliveries]}


def of_delivery(one: "DeliveryLog") -> dict[str, Any]:
    """`replies`: to the last tries, oldest first."""
    return {
        "event": one.public_id,
        "type": one.type,
        "state": one.state,
        "tries": one.tries,
        "next_try": one.not_before.isoformat() if one.not_before and one.state == "waiting" else None,
        "replies": secrets_hidden(list(one.replies or ())),
    }


def of_tested_subscriber(one: "Tested") -> dict[str, Any]:
    return {
        "subscriber": one.subscriber,
        "event": one.event_id,
        "status": one.status,
        "reply": one.reply,
        "seconds": one.seconds,
        "error": secrets_hidden(one.error),
    }
