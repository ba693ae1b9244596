"""Turns pydantic's errors into sentences that say what to do."""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, cast, get_args

from pydantic import BaseModel, Tag

_TIME = "expected a time with its offset from UTC, such as 2026-11-30T09:00:00Z"
_DAY = "expected a day such as 2026-11-30"
_DAYS = ("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact")
_SAID: Mapping[str, str] = MappingProxyType(
    {
        "missing": "it is required, but missing",
        "timezone_aware": _TIME,
        **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_from_date_parsing"), _TIME),
        **dict.fromkeys(_DAYS, _DAY),
    }
)
#: `<Operation.BLEND: 'blend'>`, for which a caller writes "blend"
_MEMBER = re.compile(r"<[\w.]+: ('[^']*')>")


def sentence_of(mistake: Mapping[str, Any], model: type[BaseModel], place: Sequence[int | str]) -> str:
    """Return what is wrong with the value at `place` of a body or query of this model."""
    if mistake["type"] == "extra_forbidden":
        return _unknown(str(place[-1]), model if len(place) == 1 else None)
    said = mistake["msg"].removeprefix("Value error, ")
    said = _SAID.get(mistake["type"], _MEMBER.sub(r"\1", said))
    said = said.replace(" after validation", "").replace(", unable to parse string as an integer", "")
    return said.replace("Input should be", "it must be").replace("List should have", "it must have")


def chosen(model: type[BaseModel], tag: int | str) -> type[BaseModel]:
    """Return which of several possible models read a body: pydantic names it in each place."""
    for option in get_args(model.model_fields["root"].annotation):
        one, *marks = get_args(option)
        if any(isinstance(mark, Tag) and mark.tag == tag for mark in marks):
            return cast("type[BaseModel]", one)
    return model


def _unknown(name: str, model: type[BaseModel] | None) -> str:
    """`model`: where the name was used; None if unknown."""
    names = [field.alias or its for its, field in model.model_fields.items()] if model is not None else []
    close = get_close_matches(name, names, 1)
    expected = f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(names)}" if names else ""
    return f"there is no field with this name{expected}"
