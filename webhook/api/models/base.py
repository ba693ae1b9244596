"""The bases of all models."""

from math import isfinite
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue


def _finite(value: JsonValue) -> JsonValue:
    """JSON has no infinite numbers, but parsers make them of 1e999 and NaN."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("the number is too large, or is none")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(part)
    return value


#: any JSON
Value = Annotated[JsonValue, AfterValidator(_finite)]


class RequestModel(BaseModel):
    """A body or a query string; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(BaseModel):
    """The description of an answer; tests compare it with what `tasks/usecases/views/` makes."""

    # The API never validates its answers, so their validators would take memory for nothing.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Page(RequestModel):
    """One page of a list."""

    limit: Annotated[int, Field(ge=1, le=200, description="How many at the most.")] = 50
    after: Annotated[str | None, Field(description="`next` of the page before.")] = None
