"""/v1/events"""

import time
from weakref import WeakKeyDictionary

from tasks.usecases import views
from tasks.usecases.events import log
from tasks.usecases.events.log import EventFilter, EventPage, EventSelection, EventsPruned
from tasks.usecases.events.place import event_place
from webhook.api.call import Call, Refused, Reply
from webhook.api.event_watch import EventWatch
from webhook.api.models.events import EventsDocument, EventsQuery
from webhook.api.routes import Routes
from webhook.api.scopes import Scope
from worker.services import Services

routes = Routes("events")

#: seconds after which a caller that found no place to wait should retry
COME_AGAIN = 2
_watches: WeakKeyDictionary[Services, EventWatch] = WeakKeyDictionary()


@routes.get("/events", scope=Scope.EVENTS_READ, answers={200: EventsDocument}, problems=(404, 410, 422))
def list_events(call: Call, query: EventsQuery) -> Reply:
    """List events after a position, oldest first, and wait for one if there is none.

    No event is skipped. 410 (`events_pruned`): the event of `after` no longer exists; the detail names the oldest
    one that does.
    """
    here = call.here
    types = tuple(one.strip() for one in (query.type or "").split(",") if one.strip())
    wanted = log.filter_of(here, EventSelection(types=types, batch=query.batch))
    try:
        position = 0 if query.after is None else log.position_of(here, query.after)
    except EventsPruned as error:
        mistake = {
            "parameter": "after",
            "detail": "no longer kept",
            **({"value": error.oldest} if error.oldest else {}),
        }
        raise Refused(str(error), status=410, code="events_pruned", errors=(mistake,)) from error
    page = log.read_events(here, wanted, position, log.horizon_of(here), query.limit)
    headers: dict[str, str] = {}
    if query.wait and not page.events and page.is_end:
        page, is_waited = _wait(here, wanted, page, query)
        if not is_waited:
            headers["Retry-After"] = str(COME_AGAIN)
    place = event_place(here.settings, lambda: here.prices)
    data = [views.of_event(event, place) for event in page.events]
    return Reply(document={"data": data, "next": page.cursor or query.after}, headers=headers)


def _wait(here: Services, wanted: EventFilter, page: EventPage, query: EventsQuery) -> tuple[EventPage, bool]:
    """Return the next page with an event, or the last page; and False if there was no place to wait."""
    ends_at = time.monotonic() + query.wait
    watch = _watches.setdefault(here, EventWatch(here.ledger.events.horizon))
    cursor = page.cursor
    with watch.place() as is_free:
        while is_free and not page.events and (horizon := watch.wait_beyond(page.position, ends_at)) is not None:
            page = log.read_events(here, wanted, page.position, horizon, query.limit)
            cursor = page.cursor or cursor
    return EventPage(page.events, page.position, cursor, page.is_end), is_free
