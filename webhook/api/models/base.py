"""The bases of all models."""

import re
from math import isfinite
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, field_validator


def _finite(value: JsonValue) -> JsonValue:
    """Refuse infinite numbers: JSON has none, but parsers read 1e999 and NaN as such."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("the number is too large, or is not a number")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _finite(part)
    return value


#: any JSON
Value = Annotated[JsonValue, AfterValidator(_finite)]


def _as_list(given: object) -> object:
    return [given] if isinstance(given, str) else given


#: a parameter that may be repeated
Repeated = Annotated[list[str], BeforeValidator(_as_list)]


class RequestModel(BaseModel):
    """A body or a query string; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Document(BaseModel):
    """The description of an answer; tests compare it with the documents of `tasks/usecases/views/`."""

    # The API never validates its answers, so their validators would take memory for nothing.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Page(RequestModel):
    """One page of a list."""

    #: the prefix of its ids: any other text would be compared with them, and start the page in the wrong place
    ids: ClassVar[str]

    limit: Annotated[int, Field(ge=1, le=200, description="The most to return.")] = 50
    after: Annotated[str | None, Field(description="`next` of the previous page.")] = None

    @field_validator("after")
    @classmethod
    def _is_next(cls, after: str | None) -> str | None:
        if after and re.fullmatch(rf"{cls.ids}_[0-9a-f]{{32}}", after) is None:
            raise ValueError("this is not the `next` of a page of this list: pass it unchanged, or omit it")
        return after or None
