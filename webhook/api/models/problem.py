"""Problems (RFC 9457)."""

from typing import Annotated

from pydantic import Field

from webhook.api.models.base import Document


class Mistake(Document):
    """One mistake: its place, and what is wrong."""

    detail: str
    pointer: Annotated[str | None, Field(description="JSON pointer into the body.")] = None
    parameter: Annotated[str | None, Field(description="Name of a query parameter.")] = None
    line: Annotated[int | None, Field(description="Line of a file, counted from 1.")] = None
    column: Annotated[str | None, Field(description="Name or number of a column of a file.")] = None
    value: Annotated[str | None, Field(description="The value found there.")] = None


class Problem(Document):
    """An error."""

    type: Annotated[str, Field(examples=["urn:darkroom:problem:not_found"])]
    title: str
    status: int
    code: Annotated[str, Field(description="For programs; stable.", examples=["not_found"])]
    detail: Annotated[str, Field(description="For people: what is wrong and what to do.")]
    request_id: str
    errors: list[Mistake] | None = None
    more_errors: Annotated[int | None, Field(description="How many mistakes `errors` leaves out.")] = None
