"""Text matching in the dialect of each database: patterns of keys, and words in prompts.

SQLite folds the case of ASCII only, PostgreSQL according to its locale. So both cases of every other letter are written
out, and both databases find the same.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import ColumnElement, bindparam, collate, or_

from worker.ledger.schema import CleanText

_ANY, _MANY = "?", "*"
#: the most patterns for one text: enough for two non-ASCII letters, and most words in Latin script have no more
_MOST_LIKES = 4


class _Class(NamedTuple):
    """One character in these ranges. `is_not`: any character outside them."""

    ranges: tuple[tuple[str, str], ...]
    is_not: bool


class _Literal(NamedTuple):
    text: str


_Part = _Class | _Literal | str


class Words(NamedTuple):
    """Words in a text, ignoring case.

    `likes`: one of these patterns must match; the first non-ASCII letters are written in both cases, and any further
    ones match any character. `exactly`: a pattern for all letters; None if there are no further ones.
    """

    likes: tuple[str, ...]
    exactly: str | None

    @property
    def without_texts(self) -> "Words":
        """The same value for all words that need the same conditions."""
        return Words(("",) * len(self.likes), self.exactly and "")


def pattern_of_key(pattern: str, *, is_sqlite: bool) -> str:
    """Translate an `fnmatch` pattern for `is_like`; it must match the whole text, including case."""
    parts = list(_parts(pattern))
    return "".join(_glob(part) for part in parts) if is_sqlite else f"^{''.join(_regex(part) for part in parts)}$"


def is_like(column: ColumnElement[str], name: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    """Return the condition that a text matches the pattern in this parameter."""
    found: ColumnElement[bool] = column.op("GLOB" if is_sqlite else "~", is_comparison=True)(_text(name))
    return found


def words_of(text: str, *, is_sqlite: bool) -> Words:
    """Return the words in the form that `has_words` takes."""
    likes, is_exact = [""], True
    for character in text:
        cases = _cases(character)
        if len(likes) * len(cases) > _MOST_LIKES:
            cases, is_exact = ("_",), False
        elif len(cases) == 1:
            cases = (_escaped(character),)
        likes = [f"{before}{one}" for before in likes for one in cases]
    found = tuple(f"%{like}%" for like in likes)
    if is_exact:
        return Words(found, None)
    parts: list[_Part] = [_class_of(them) for them in map(_cases_with_ascii, text)]
    if is_sqlite:
        return Words(found, f"*{''.join(map(_glob, parts))}*")
    return Words(found, "".join(map(_regex, parts)))


def has_words(column: ColumnElement[str], words: Words, name: str, *, is_sqlite: bool) -> list[ColumnElement[bool]]:
    """Return the conditions that a text contains these words; `parameters_of` returns their parameters."""
    # The cheap condition first, which leaves few rows for the other one.
    likes = [_text(_like_name(name, number)) for number in range(len(words.likes))]
    # In the collation C, only ASCII letters have cases, whatever the server's locale.
    folded = column if is_sqlite else collate(column, "C")
    cheap = [folded.like(like, escape="\\") if is_sqlite else folded.ilike(like, escape="\\") for like in likes]
    conditions: list[ColumnElement[bool]] = [or_(*cheap)]
    if words.exactly is not None:
        conditions.append(is_like(column, f"{name}_exactly", is_sqlite=is_sqlite))
    return conditions


def parameters_of(words: Words, name: str) -> dict[str, str | None]:
    likes = {_like_name(name, number): like for number, like in enumerate(words.likes)}
    return {**likes, f"{name}_exactly": words.exactly}


def _like_name(name: str, number: int) -> str:
    return f"{name}_like_{number}"


def _text(name: str) -> ColumnElement[str]:
    return bindparam(name, type_=CleanText())


def _escaped(character: str) -> str:
    return f"\\{character}" if character in "%_\\" else character


def _cases(character: str) -> tuple[str, ...]:
    """Return both cases of a non-ASCII letter; any other character as it is."""
    return (character,) if character.isascii() else _cases_with_ascii(character)


def _cases_with_ascii(character: str) -> tuple[str, ...]:
    both = {character, character.lower(), character.upper(), character.title(), character.casefold()}
    return tuple(sorted(one for one in both if len(one) == 1))


def _class_of(characters: tuple[str, ...]) -> _Part:
    if len(characters) == 1:
        return _Literal(characters[0])
    return _Class(tuple((one, one) for one in characters), is_not=False)


def _parts(pattern: str) -> Iterator[_Part]:
    """Parse a pattern as `fnmatch` does."""
    at, before = 0, ""
    while at < len(pattern):
        character, at = pattern[at], at + 1
        if character == _MANY:
            if before != _MANY:
                yield _MANY
        elif character == _ANY:
            yield _ANY
        elif character == "[" and (end := _end_of_class(pattern, at)) is not None:
            yield _class(pattern[at:end])
            at = end + 1
        else:
            yield _Literal(character)
        before = character


def _end_of_class(pattern: str, begin: int) -> int | None:
    """Return the position of the closing bracket; a closing bracket that comes first is an ordinary character."""
    first = begin + (pattern[begin : begin + 1] == "!")
    found = pattern.find("]", first + 1)
    return None if found < 0 else found


def _class(inside: str) -> _Class:
    is_not, characters = inside.startswith("!"), inside.removeprefix("!")
    ranges, at = [], 0
    while at < len(characters):
        first = last = characters[at]
        at += 1
        if characters[at : at + 1] == "-" and at + 1 < len(characters):
            last, at = characters[at + 1], at + 2
        if first <= last:
            ranges.append((first, last))
    return _Class(tuple(ranges), is_not)


def _glob(part: _Part) -> str:
    match part:
        case str():
            return part
        case _Literal(text):
            return f"[{text}]" if text in "*?[" else text
    if not part.ranges:
        # An empty class matches nothing, and its negation any character.
        return _ANY if part.is_not else "[^\x01-\U0010ffff]"
    singles = {first for first, last in part.ranges if first == last}
    wide = "".join(f"{first}-{last}" for first, last in part.ranges if first != last)
    # A bracket comes first, a hyphen last, and a caret not first, so that they stand for themselves.
    plain = "".join(sorted(singles - {"]", "-", "^"}))
    rest = ("^" * ("^" in singles), "-" * ("-" in singles))
    body = f"{']' * (']' in singles)}{plain}{wide}{''.join(rest)}"
    if body.startswith("^") and not part.is_not:
        body = f"-{body[:-1]}" if body.endswith("-") else "^"
        if body == "^":
            return body
    return f"[{'^' * part.is_not}{body}]"


def _regex(part: _Part) -> str:
    match part:
        case "*":
            return ".*"
        case "?":
            return "."
        case _Literal(text):
            return _named(text)
    assert isinstance(part, _Class)  # noqa: S101  for mypy
    if not part.ranges:
        return "." if part.is_not else "(?!)"
    inside = "".join(_named(a) if a == b else f"{_named(a)}-{_named(b)}" for a, b in part.ranges)
    return f"[{'^' * part.is_not}{inside}]"


def _named(character: str) -> str:
    """Return a character escaped for a regular expression, valid inside brackets as well."""
    if re.fullmatch(r"[a-zA-Z0-9]", character):
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"
