"""The recorded events: a list, pages for programs, and a stream of new ones."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tasks.usecases.events.place import EventPlace, event_place
from tasks.usecases.names import find_batch, find_generation
from tasks.usecases.services import LedgerServices
from worker.errors import DarkroomError, LedgerUnavailable, RequestInvalid
from worker.ledger.events import EventFilter, EventPage, RecordedEvent, number_of
from worker.providers import PROVIDERS
from worker.subscribers import is_wanted, patterns

__all__ = ["EventFilter", "EventPage", "EventPlace", "EventSelection", "EventsPruned", "RecordedEvent", "filter_of",
           "horizon_of", "list_events", "listen", "place_of", "position_of", "read_events", "start_of"]  # fmt: skip

#: seconds between polls while listening
INTERVAL = 0.5
#: events read at once while listening
_PAGE = 200


class EventsPruned(DarkroomError):
    """The event from which to continue does not exist. `oldest`: the oldest that does; None if there is none."""

    def __init__(self, cursor: str, oldest: str | None) -> None:
        rest = f"the oldest remaining event is {oldest}" if oldest else "there is no event"
        super().__init__(f"there is no event {cursor}: it was pruned, or belongs to another ledger; {rest}")
        self.oldest = oldest


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSelection:
    """`types`: patterns such as `generation.*`; `batch`, `generation`: by name, key or id; `since`: not older."""

    types: Sequence[str] = ()
    batch: str | None = None
    generation: str | None = None
    since: timedelta | None = None


def place_of(here: LedgerServices) -> EventPlace:
    return event_place(here.settings, lambda: here.settings.read_prices(PROVIDERS))


def list_events(here: LedgerServices, selection: EventSelection, limit: int | None) -> Iterator[RecordedEvent]:
    """Yield the events, newest first. Raises as `filter_of` does."""
    return here.ledger.events.newest_events(filter_of(here, selection), limit)


def horizon_of(here: LedgerServices) -> int | None:
    """Return the position up to which no event may still appear; None if that is unknown now."""
    return here.ledger.events.horizon()


def position_of(here: LedgerServices, cursor: str) -> int:
    """Return the position of an event.

    Raises RequestInvalid if it is not an event id, and EventsPruned if there is no such event.
    """
    if number_of(cursor) is None:
        raise RequestInvalid(f"{cursor!r} is not the id of an event, such as evt_57_19aa64df800")
    position = here.ledger.events.position_of(cursor)
    if position is None:
        raise EventsPruned(cursor, here.ledger.events.oldest_event())
    return position


def read_events(here: LedgerServices, wanted: EventFilter, position: int, horizon: int | None, limit: int) -> EventPage:
    """Return the events after a position, oldest first; none beyond `horizon`."""
    if horizon is None or horizon <= position:
        return EventPage((), position, None, is_end=True)
    return here.ledger.events.events_after(position, horizon, wanted, limit)


def start_of(here: LedgerServices, after: str | None) -> int:
    """Return the position where listening starts: after an event, or with what happens from now on."""
    if after is not None:
        return position_of(here, after)
    while (horizon := horizon_of(here)) is None:
        time.sleep(INTERVAL)
    return horizon


def listen(
    here: LedgerServices, wanted: EventFilter, position: int, tell: Callable[[LedgerUnavailable], None]
) -> Iterator[RecordedEvent]:
    """Yield events as they are recorded, without end; `tell` is called each time the ledger is unreachable."""
    while True:
        try:
            page = read_events(here, wanted, position, horizon_of(here), _PAGE)
        except LedgerUnavailable as error:
            tell(error)
            time.sleep(INTERVAL)
            continue
        yield from page.events
        position = page.position
        if page.is_end:
            time.sleep(INTERVAL)


def filter_of(here: LedgerServices, selection: EventSelection) -> EventFilter:
    """Return the filter.

    Raises RequestInvalid for a pattern that matches no event, and as `find_batch` and `find_generation` do.
    """
    wanted = tuple(selection.types)
    if wanted:
        _require_events(wanted)
    since = None if selection.since is None else here.clock() - selection.since
    batch_id = None
    if selection.batch is not None:
        batch_id = find_batch(here.ledger, selection.batch)
        # A batch has no events older than itself, so a list need not go back any further.
        began = here.ledger.generations.batches_called(batch_id, 1)[0].created_at
        since = began if since is None else max(since, began)
    return EventFilter(
        is_wanted=(lambda event_type: is_wanted(event_type, wanted)) if wanted else lambda _: True,
        batch_id=batch_id,
        generation_id=None if selection.generation is None else find_generation(here.ledger, selection.generation),
        since=since,
    )


def _require_events(wanted: Sequence[str]) -> None:
    # Imported here: the event models load slowly, and most requests name no type.
    from tasks.usecases.events.published import EVENTS  # noqa: PLC0415

    for one in wanted:
        try:
            patterns(one)
        except ValueError as error:
            raise RequestInvalid(str(error)) from error
        if not any(is_wanted(name, [one]) for name in EVENTS):
            raise RequestInvalid(f"no event matches {one!r}; there are: {', '.join(EVENTS)}")
