"""Unambiguous JSON: what parsers read differently, or no database can store, is refused with its place."""

import json
import math
from collections.abc import Iterator
from typing import NoReturn

#: levels of arrays and objects; a generation's options have three
DEEPEST = 32
#: values in a body; a batch of 50,000 rows with ten columns has as many
MOST_VALUES = 600_000


class NotJson(ValueError):
    """Text that is not JSON; the message is one sentence."""


class BadText(ValueError):
    """A string that cannot be stored, or too many values. `place`: names and numbers from the root to it."""

    def __init__(self, place: tuple[int | str, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


def check(body: bytes) -> None:
    """Raise NotJson for a body that is not UTF-8 JSON or is ambiguous; BadText for a string that cannot be stored."""
    try:
        document = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NotJson(f"byte {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise NotJson(_TOO_DEEP) from None
    for number, (place, value) in enumerate(_walk(document)):
        if number > MOST_VALUES:
            raise BadText((), f"it has more than {MOST_VALUES:,} values: send it in several parts")
        if len(place) > DEEPEST:
            raise NotJson(_TOO_DEEP)
        for text in (value, place[-1] if place else None):
            if isinstance(text, str) and (wrong := unusable(text)):
                raise BadText(place, wrong)


def unusable(text: str) -> str | None:
    """Return why no database can store this text; None if it can be stored."""
    if "\0" in text:
        return "it contains the character NUL, which a database cannot store"
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        return "it contains half of a surrogate pair, which is not a character"
    return None


_TOO_DEEP = f"arrays and objects are nested more than {DEEPEST} levels deep"


def _walk(document: object) -> Iterator[tuple[tuple[int | str, ...], object]]:
    """Yield each value. Not recursive: deep nesting must not end this process. Lazy: a list may have a million."""
    yield (), document
    left: list[tuple[tuple[int | str, ...], Iterator[tuple[int | str, object]]]] = [((), _parts(document))]
    while left:
        place, parts = left[-1]
        for name, inner in parts:
            yield (*place, name), inner
            if isinstance(inner, dict | list):
                left.append(((*place, name), _parts(inner)))
                break
        else:
            left.pop()


def _parts(value: object) -> Iterator[tuple[int | str, object]]:
    return iter(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set[str]()
        # A single pass: a body of 16 MB has millions of names.
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise NotJson(f"the name {twice!r} occurs twice in one object: keep one")
    return found


def _constant(word: str) -> NoReturn:
    raise NotJson(f"{word} is not a JSON number: write null, or leave the field out")


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise NotJson(f"the number {digits[:40]} is too large")
    return number


def _int(digits: str) -> int:
    # More digits than Python converts, or any field takes.
    if len(digits) > 1000:
        raise NotJson(f"a number has {len(digits):,} digits, which is too many")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_constant, parse_float=_float, parse_int=_int)
