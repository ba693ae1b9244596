"""The filters of the gallery, as they appear in an address."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from tasks.shown import shown
from tasks.usecases.gallery import GalleryRequest
from tasks.usecases.marks import Mark
from webhook.console.naming import provider
from worker.errors import RequestInvalid
from worker.generation import Operation, State

Word = TypeVar("Word", bound=StrEnum)

#: parameter → its name on the page
NAMES: Mapping[str, str] = {
    "q": "Prompt",
    "batch": "Batch",
    "state": "State",
    "provider": "Provider",
    "operation": "Operation",
    "label": "Label",
    "key": "Key",
    "mark": "Mark",
    "since": "From",
    "until": "To",
}
_OTHERS = frozenset({"provider", "operation", "label", "key", "mark", "since", "until"})
_AFTER, _SIMILAR = "after", "similar"
#: how many times a label may be given
_MOST = 10


class Chip(NamedTuple):
    """One filter. `address`: the page without it."""

    name: str
    value: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """`given`: the parameters as in the address; `is_similar`: show groups of images that look alike."""

    given: Sequence[tuple[str, str]]
    request: GalleryRequest
    is_similar: bool

    def address(self, path: str = "/gallery", **more: str) -> str:
        """Return an address with these filters, starting at the newest image."""
        return _address([*self.given, *more.items()], path)

    def address_without(self, name: str) -> str:
        """Return the address of the gallery without this filter."""
        return _address([one for one in self.given if one[0] != name])

    @property
    def has_others(self) -> bool:
        """Return whether rarely used filters are set."""
        return any(name in _OTHERS for name, _ in self.given)

    def value(self, name: str) -> str:
        return next((value for one, value in self.given if one == name), "")

    def values(self, name: str) -> list[str]:
        return [value for one, value in self.given if one == name]

    def chips(self) -> Iterator[Chip]:
        for place, (name, value) in enumerate(self.given):
            if name in NAMES:
                others = [*self.given[:place], *self.given[place + 1 :]]
                if name == "batch":
                    others = [one for one in others if one[0] != _SIMILAR]
                yield Chip(NAMES[name], provider(value) if name == "provider" else value, _address(others))


def _address(fields: Sequence[tuple[str, str]], path: str = "/gallery") -> str:
    return f"{path}?{urlencode(fields)}" if fields else path


def filters_of(fields: MultiDict[str, str]) -> Filters:
    """Read the filters, without empty ones. Raises RequestInvalid."""
    given = [(name, value.strip()) for name in (*NAMES, _SIMILAR) for value in fields.getlist(name) if value.strip()]
    # Ignoring one would show, and act on, other images than the address says.
    given = list(dict.fromkeys(given))
    first = dict(given)
    labels = [value for name, value in given if name == "label"]
    _require_once([_label(value)[0] for value in labels], "label ")
    _require_once([name for name, _ in given if name != "label"])
    if len(labels) > _MOST:
        raise RequestInvalid(f"{len(labels)} labels, but the limit is {_MOST}: remove some of them")
    request = GalleryRequest(
        batch=first.get("batch"),
        provider=first.get("provider"),
        operation=_word(Operation, first.get("operation"), "operation"),
        state=_word(State, first.get("state"), "state"),
        labels=dict(map(_label, labels)),
        key=first.get("key"),
        words=first.get("q"),
        mark=_word(Mark, first.get("mark"), "mark"),
        since=_day(first.get("since")),
        until=_day(first.get("until")),
        cursor=fields.get(_AFTER),
    )
    return Filters(given=given, request=request, is_similar=_SIMILAR in first and request.batch is not None)


def has_empty(fields: MultiDict[str, str]) -> bool:
    """Return whether a form was sent with empty fields."""
    return any(not value.strip() for value in fields.values())


def _require_once(names: Sequence[str], what: str = "") -> None:
    for name, number in Counter(names).items():
        if number > 1:
            raise RequestInvalid(
                f"{what}{shown(name)!r} occurs {number} times in the address, each time with another value: keep one"
            )


def _word(kind: type[Word], text: str | None, name: str) -> Word | None:
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError as error:
        raise RequestInvalid(f"there is no {name} {shown(text)!r}; choose one from the list") from error


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise RequestInvalid(f"write a label as name=value, not {shown(text)!r}")
    return name.strip(), value.strip()


def _day(text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise RequestInvalid(f"write a day as 2026-05-03, not {shown(text)!r}") from error
