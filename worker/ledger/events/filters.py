"""Decides which recorded events a subscriber gets, for a page of events at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from worker.ledger.events.addresses import addresses_of
from worker.ledger.events.contents import BATCH_ID
from worker.ledger.labels import labels_of
from worker.ledger.schema import batches, events, generations
from worker.ledger.statements import IDS, LIMIT, Query

DISABLED = "subscriber.disabled"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """`is_wanted`: whether to include a type; `batch`: name or id; `labels`: all of these.

    None and empty values select everything. `by_address`: only events for an address of this subscriber, which stands
    for an origin.
    """

    is_wanted: Callable[[str], bool] = lambda _: True
    batch: str | None = None
    provider: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    by_address: bool = False

    @property
    def is_by_type(self) -> bool:
        return self.batch is None and self.provider is None and not self.labels


class News(NamedTuple):
    id: int
    type: str


class _About(NamedTuple):
    id: int
    payload: Mapping[str, object]
    generation_id: str | None
    provider: str | None
    batch_id: str | None
    batch: str | None


_e, _g = events.c, generations.c
NEWS = Query(
    News,
    select(_e.id, _e.type)
    .where(_e.id > bindparam("after"), _e.id <= bindparam("horizon"))
    .order_by(_e.id)
    .limit(LIMIT),
)
_NEWS_OF = Query(News, select(_e.id, _e.type).where(_e.id.in_(IDS)).order_by(_e.id))
_ABOUT = Query(
    _About,
    select(_e.id, _e.payload, _e.generation_id, _g.provider, BATCH_ID.label("batch_id"), batches.c.name.label("batch"))
    .select_from(events)
    .outerjoin(generations, _g.id == _e.generation_id)
    .outerjoin(batches, batches.c.id == BATCH_ID)
    .where(_e.id.in_(IDS)),
)


def wanted_of(connection: Connection, news: Sequence[News], wanted: DeliveryFilter, subscriber: str) -> list[int]:
    """Return the ids of the events that this subscriber gets; at most two more statements for any number of events."""
    found = [row.id for row in news if wanted.is_wanted(row.type)]
    if wanted.by_address:
        to = addresses_of(connection, found)
        return [one for one in found if one in to and to[one].subscriber == subscriber]
    # A subscriber does not get the event that it was disabled.
    of_subscribers = {row.id for row in news if row.type == DISABLED}.intersection(found)
    looked_up = sorted(of_subscribers) if wanted.is_by_type else found
    if not looked_up:
        return found
    about = {row.id: row for row in _ABOUT.each(connection, looked_up)}
    if not wanted.is_by_type:
        found = [one for one in found if _is_of(about[one], wanted)]
        if wanted.labels:
            labelled = sorted({of for one in found if (of := about[one].generation_id) is not None})
            labels = labels_of(connection, labelled) if labelled else {}
            asked = wanted.labels.items()
            found = [one for one in found if asked <= labels.get(about[one].generation_id or "", {}).items()]
    return [one for one in found if one not in of_subscribers or about[one].payload.get("subscriber") != subscriber]


def news_of(connection: Connection, event_ids: Sequence[int]) -> list[News]:
    """Return the existing ones of these events, oldest first."""
    return sorted(_NEWS_OF.each(connection, event_ids))


def _is_of(about: _About, wanted: DeliveryFilter) -> bool:
    is_of_batch = wanted.batch is None or wanted.batch in {about.batch_id, about.batch}
    return is_of_batch and wanted.provider in {None, about.provider, about.payload.get("provider")}
