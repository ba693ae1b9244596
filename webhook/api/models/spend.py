"""Spending in answers of the API."""

from datetime import date
from typing import Annotated

from pydantic import Field

from webhook.api.models.base import Document, Repeated, RequestModel

Day = Annotated[date, Field(ge=date(2000, 1, 1), le=date(9000, 12, 31))]
Amount = Annotated[str, Field(description="A decimal number.", examples=["12.5"])]


class SpendQuery(RequestModel):
    """What to add up."""

    by: Annotated[
        str,
        Field(
            description="Dimensions: day, provider, batch, operation or label:NAME, or several, separated by commas.",
            examples=["label:client,provider,day"],
        ),
    ] = "day"
    first: Annotated[Day | None, Field(alias="from", description="The first day; default: 30 days before today.")] = (
        None
    )
    last: Annotated[Day | None, Field(alias="to", description="The last day, inclusive; default: today.")] = None
    label: Annotated[
        Repeated,
        Field(
            default_factory=list,
            description="Only generations with this label, as `name:value`; may be repeated: all must match.",
            examples=[["client:acme"]],
        ),
    ]


class AmountsDocument(Document):
    """Amounts of one row."""

    known: Annotated[Amount, Field(description="Paid.")]
    possible: Annotated[Amount, Field(description="The outcome is unknown, and the provider may have charged.")]
    reserved: Annotated[Amount, Field(description="In progress.")]
    total: Amount
    late: Annotated[
        Amount, Field(description="The part of `known` that was charged after its reservation had been released.")
    ]


class CapDocument(Document):
    """A budget: what it may spend, and what it has left."""

    budget: Annotated[str, Field(description="day, provider, batch or label.")]
    id: str
    name: str
    cap: Amount
    used: Amount
    left: Amount
    waiting: Annotated[int, Field(description="Generations that exceed the budget and wait.")]


class DimensionDocument(Document):
    """The value of one dimension; id is null if there is none."""

    id: str | None
    name: str


class AssumedDocument(Document):
    """An amount at the highest known factor, because the price file has none for these extras."""

    provider: str
    extras: list[str]
    amount: Amount


class UnpricedDocument(Document):
    """What was sent without a price."""

    provider: str
    operation: str
    number: int
    amount: Annotated[Amount | None, Field(description="At current prices; null: there is no price.")]


class SpendDocument(Document):
    """What generations cost."""

    currency: Annotated[str | None, Field(description="Null: there is no price file, so nothing is counted.")]
    since: Annotated[date, Field(description="The first day.")]
    until: Annotated[date | None, Field(description="The last day; null: today.")]
    timezone: str
    by: str | list[str]
    rows: Annotated[
        list[dict[str, str | DimensionDocument | None]],
        Field(
            description="By one dimension: its id and name beside the amounts; by several: each dimension under its "
            "name, with id and name."
        ),
    ]
    total: AmountsDocument
    caps: Annotated[list[CapDocument], Field(description="Every budget in force now, regardless of the selected days.")]
    assumed: list[AssumedDocument]
    unpriced: list[UnpricedDocument]
