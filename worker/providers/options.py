"""Options of a request, read from text (command line, CSV) or JSON values into what a provider's API wants."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from worker.errors import RequestInvalid


@dataclass(frozen=True, slots=True)
class Option:
    """What is allowed, in words, and how it is read; `read` raises KeyError, TypeError, ValueError or OverflowError."""

    allowed: str
    read: Callable[[Any], Any]


def _flag(value: Any) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not (text := str(value).strip()):
        raise ValueError
    return text


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError
    return float(value)


def _seconds(value: Any) -> float:
    if not 0 < (number := _number(value)) < inf:
        raise ValueError
    return int(number) if number.is_integer() else number


FLAG = Option("true or false", _flag)
SECONDS = Option("a number of seconds", _seconds)


def text(allowed: str) -> Option:
    """Any text; a number, as CSV and JSON hold one, is taken as its text."""
    return Option(allowed, _text)


def one_of(*words: str) -> Option:
    """One of these words."""
    return Option(_list(words), {word: word for word in words}.__getitem__)


def level(*numbers: str) -> Option:
    """One of these numbers, however it is written, in the spelling given here."""
    spelling = {float(number): number for number in numbers}
    return Option(_list(numbers), lambda value: spelling[_number(value)])


def read_options(title: str, known: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """Read all that was given; raises RequestInvalid that names the first wrong one."""
    values = {}
    for name, value in given.items():
        if name not in known:
            raise RequestInvalid(f"{title} has no option {name!r}; it has {', '.join(sorted(known))}")
        try:
            values[name] = known[name].read(value)
        except (KeyError, TypeError, ValueError, OverflowError):
            shown = str(value)[:40]
            raise RequestInvalid(f"option {name}: {shown!r} is not possible, give {known[name].allowed}") from None
    return values


def _list(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
