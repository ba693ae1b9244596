"""Subscribers: add, list, show, test, enable and remove them."""

import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from enum import StrEnum
from secrets import token_bytes

from tasks.shown import shown
from tasks.subscriptions import Subscription, added, subscriptions_of
from tasks.usecases.events.log import EventSelection, filter_of
from tasks.usecases.person import Person
from tasks.usecases.services import LedgerServices
from worker.errors import NotFound, RequestInvalid
from worker.ledger.events import DeliveryLog, KnownSubscriber, NewSubscriber
from worker.providers import PROVIDERS
from worker.subscribers import (
    NOTIFY_PREFIX,
    CeleryTask,
    Format,
    NotifyOrigin,
    RedisStream,
    Subscriber,
    Webhook,
    celery_tasks,
    redis_stream,
    shown_address,
    webhooks,
)

__all__ = ["AddRequest", "Added", "DeliveryLog", "Format", "ListedSubscriber", "SubscriberState", "Tested"]

_LONGEST_NAME = 100
#: secrets valid at the same time: the new and the previous one
_SECRETS = 2


class SubscriberState(StrEnum):
    ACTIVE = "active"
    FAILING = "failing"
    DISABLED = "disabled"
    #: no worker has seen it in its settings yet
    NEW = "new"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddRequest:
    """One of `url`, `task` (`name@queue`) and `stream`; `name`: None derives it from the address.

    Omitted filters select everything. Raises RequestInvalid for any other combination.
    """

    url: str | None = None
    task: str | None = None
    stream: str | None = None
    name: str | None = None
    types: Sequence[str] = ()
    batch: str | None = None
    provider: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    format: Format = Format.STANDARD
    by: str

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.url, self.task, self.stream)) != 1:
            raise RequestInvalid("give one of URL, --task and --stream")
        if self.url is None and self.format is not Format.STANDARD:
            raise RequestInvalid("--format is for a URL: tasks and streams get events as they are")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSubscriber:
    """A subscriber without its secrets. `declared`: by the settings; `waiting`: events that are enqueued for it.

    `addresses`: the number of addresses at its origin that submissions have named; None if it is not an origin.
    """

    name: str
    kind: str
    address: str
    declared: bool
    state: SubscriberState
    types: Sequence[str]
    waiting: int
    row: KnownSubscriber | None
    addresses: int | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """`secret`: verifies its webhooks; None for tasks and streams."""

    listed: ListedSubscriber
    secret: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """The reply to an example. `error`: why it counts as not delivered."""

    subscriber: str
    event_id: str
    status: int | None
    reply: str
    seconds: float
    error: str | None


def add_subscriber(here: LedgerServices, request: AddRequest) -> Added:
    """Add a subscriber; it starts with the events of the last minutes. Raises RequestInvalid."""
    if request.types:
        # Raises RequestInvalid for a pattern that no event matches.
        filter_of(here, EventSelection(types=request.types))
    if request.provider is not None and request.provider not in PROVIDERS:
        raise RequestInvalid(f"unknown provider {request.provider!r}; expected one of {', '.join(PROVIDERS)}")
    subscriber = _read(request)
    name = request.name or subscriber.name
    _require_name(name)
    if name in {one.name for one in here.settings.subscribers}:
        raise RequestInvalid(f"{name!r} is already declared by a setting; give another --name to add it a second time")
    secret = _new_secret() if isinstance(subscriber, Webhook) else None
    row = here.ledger.events.add_subscriber(
        NewSubscriber(
            name=name,
            kind=_kind(subscriber),
            address=_stored_address(subscriber, request),
            secrets=[secret] if secret else None,
            format=request.format if isinstance(subscriber, Webhook) else None,
            queue=subscriber.queue if isinstance(subscriber, CeleryTask) else None,
            types=list(request.types) or None,
            batch=request.batch,
            provider=request.provider,
            labels=dict(request.labels) or None,
            created_by=request.by,
        )
    )
    return Added(_listed(name, added(row), row, 0), secret)


def list_subscribers(here: LedgerServices) -> list[ListedSubscriber]:
    """Return declared and added subscribers and origins of submissions, by name, including disabled ones."""
    rows = {row.name: row for row in here.ledger.events.known_subscribers()}
    declared = {one.name for one in here.settings.subscribers}
    known = subscriptions_of(here.ledger, here.settings)
    known |= {name: added(row) for name, row in rows.items() if row.kind or row.origin}
    addresses = here.ledger.events.notify_addresses() if any(row.origin for row in rows.values()) else {}
    waiting = here.ledger.events.waiting_deliveries()
    return [
        _listed(
            name, one, rows.get(name), waiting.get(name, 0), declared=name in declared, addresses=addresses.get(name, 0)
        )
        for name, one in sorted(known.items())
    ]


def show_subscriber(here: LedgerServices, name: str, limit: int) -> tuple[ListedSubscriber, list[DeliveryLog]]:
    """Return a subscriber with its newest deliveries, newest first. Raises NotFound."""
    return _find(here, name), here.ledger.events.delivery_log(name, limit)


def remove_subscriber(here: LedgerServices, name: str) -> ListedSubscriber:
    """Remove an added subscriber, or all addresses of an origin: nothing more is sent to it.

    Raises NotFound, also for a subscriber that a setting declares.
    """
    found = _find(here, name)
    if found.declared and (found.row is None or found.row.kind is None):
        raise NotFound(f"{name!r} is declared by a setting (DARKROOM_NOTIFY_URLS or _TASKS): remove it there")
    here.ledger.events.remove_subscriber(name)
    return found


def enable_subscriber(here: LedgerServices, name: str) -> ListedSubscriber:
    """Send events to it again, from where it stopped. Raises NotFound."""
    _find(here, name)
    here.ledger.events.enable_subscriber(name)
    return _find(here, name)


def disable_subscriber(here: LedgerServices, name: str, person: Person) -> ListedSubscriber:
    """Deliver nothing more to it until it is enabled; it then continues where it stopped. Raises NotFound."""
    _find(here, name)
    why = f"disabled by {person.name}{f': {person.why}' if person.why else ''}"
    here.ledger.events.disable_subscriber(name, why)
    return _find(here, name)


def rotate_secret(here: LedgerServices, name: str) -> Added:
    """Sign with a new secret and the previous one. Raises NotFound, and RequestInvalid if it has no secret."""
    found = _find(here, name)
    if found.row is None or found.row.secrets is None:
        shares_ours = found.declared or found.addresses is not None
        raise RequestInvalid(f"{name!r} has no secret of its own" + (_DECLARED if shares_ours else ""))
    secret = _new_secret()
    here.ledger.events.change_secrets(name, [secret, *found.row.secrets][:_SECRETS])
    return Added(_find(here, name), secret)


def try_subscriber(here: LedgerServices, name: str, event_type: str) -> Tested:
    """Send it an example at once, marked `"test": true` and recorded nowhere. Raises NotFound."""
    # Imports Celery and the event models, which take more memory than everything else here; only this needs them.
    from tasks.delivering import sending_to  # noqa: PLC0415
    from tasks.usecases.events.trigger import NO_ADDRESS, example  # noqa: PLC0415

    found = _find(here, name)
    if found.addresses is not None:
        raise RequestInvalid(NO_ADDRESS.format(name=name))
    subscription = subscriptions_of(here.ledger, here.settings).get(name)
    if subscription is None and found.row is not None:
        subscription = added(found.row)
    assert subscription is not None, "what is listed is declared or has a row"  # noqa: S101
    event = example(here, event_type)
    began = time.monotonic()
    with sending_to(subscription.subscriber, here.settings, here.clock) as send:
        reply = send(event, None)
    return Tested(
        subscriber=name,
        event_id=event["id"],
        status=reply.status,
        reply=reply.text,
        seconds=round(time.monotonic() - began, 3),
        error=reply.refusal.reason if reply.refusal else None,
    )


def failing_since(one: ListedSubscriber) -> datetime | None:
    return one.row.failing_since if one.row is not None and one.row.failures else None


_DECLARED = ": several in DARKROOM_NOTIFY_SECRET, separated by commas, replace one another"


def _find(here: LedgerServices, name: str) -> ListedSubscriber:
    known = {one.name: one for one in list_subscribers(here)}
    if name not in known:
        meant = get_close_matches(name, known, 1)
        hint = f"; did you mean {meant[0]!r}?" if meant else "; `darkroom subscriber list` shows all"
        raise NotFound(f"there is no subscriber {shown(name)!r}{hint}")
    return known[name]


def _listed(
    name: str,
    one: Subscription,
    row: KnownSubscriber | None,
    waiting: int,
    *,
    declared: bool = False,
    addresses: int = 0,
) -> ListedSubscriber:
    return ListedSubscriber(
        name=name,
        kind=_kind(one.subscriber),
        address=shown_address(one.subscriber),
        declared=declared and (row is None or row.kind is None),
        state=_state(row),
        types=one.types,
        waiting=waiting,
        row=row,
        addresses=addresses if isinstance(one.subscriber, NotifyOrigin) else None,
    )


def _state(row: KnownSubscriber | None) -> SubscriberState:
    if row is None:
        return SubscriberState.NEW
    if row.disabled_at is not None:
        return SubscriberState.DISABLED
    return SubscriberState.FAILING if row.failures else SubscriberState.ACTIVE


def _read(request: AddRequest) -> Subscriber:
    try:
        if request.task is not None:
            (found,) = celery_tasks(request.task) or (None,)
            if found is None:
                raise RequestInvalid("give the name of a task, such as billing.on_event@its-queue")
            return found
        if request.stream is not None:
            return redis_stream("", request.stream)
        urls = webhooks(request.url or "")
    except ValueError as error:
        reason = str(error).removeprefix("address number 1 ")
        raise RequestInvalid(reason if reason == str(error) else f"the address {reason}") from None
    if len(urls) != 1:
        raise RequestInvalid("give one address, of the form https://host/path")
    return urls[0]


def _kind(subscriber: Subscriber) -> str:
    if isinstance(subscriber, CeleryTask):
        return "task"
    if isinstance(subscriber, NotifyOrigin):
        return "notify"
    return "stream" if isinstance(subscriber, RedisStream) else "webhook"


def _stored_address(subscriber: Subscriber, request: AddRequest) -> str:
    if isinstance(subscriber, CeleryTask):
        return subscriber.task
    return request.stream or "" if isinstance(subscriber, RedisStream) else request.url or ""


def _require_name(name: str) -> None:
    if not name or name != name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME or "://" in name:
        raise RequestInvalid(
            f"a subscriber's name must have 1 to {_LONGEST_NAME} printable characters, no space at either end and no ://"
        )
    if name.startswith(NOTIFY_PREFIX):
        raise RequestInvalid(f"names starting with {NOTIFY_PREFIX} belong to submissions' addresses: choose another")


def _new_secret() -> str:
    return f"whsec_{b64encode(token_bytes(32)).decode()}"
