"""Events in answers of the API."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from webhook.api.models.base import Document, RequestModel

if TYPE_CHECKING:
    from tasks.usecases.events.models import AnyEvent


class EventsQuery(RequestModel):
    """Which events, after which one, and how long to wait for the next."""

    after: Annotated[
        str | None, Field(description="`next` of the previous page; default: start at the oldest event that is kept.")
    ] = None
    wait: Annotated[
        float, Field(ge=0, le=60, description="The most seconds to wait for an event before answering.")
    ] = 0
    type: Annotated[
        str | None, Field(description="Patterns separated by commas, such as `generation.*,asset.expired`.")
    ] = None
    batch: Annotated[str | None, Field(description="Only events of this batch, by name or id.")] = None
    limit: Annotated[int, Field(ge=1, le=200, description="The most to return.")] = 50


class EventsDocument(Document):
    """Events, oldest first."""

    data: "list[AnyEvent]"
    next: Annotated[
        str | None,
        Field(
            description="Pass it as `after`, even when `data` is empty: events that were not selected advance it "
            "too. Null only in an empty ledger."
        ),
    ]


def events_document() -> type[EventsDocument]:
    """Return it with the models of all events: only the description of answers needs them, and they take 1.6 MB."""
    from tasks.usecases.events.models import AnyEvent  # noqa: PLC0415

    EventsDocument.model_rebuild(_types_namespace={"AnyEvent": AnyEvent})
    return EventsDocument
