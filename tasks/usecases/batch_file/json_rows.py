"""Reads JSON lines and JSON arrays: flat objects, or the shape of OpenAI's batches (`custom_id` and `body`)."""

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from tasks.shown import shown
from tasks.usecases.batch_file.columns import is_known, word_of
from tasks.usecases.batch_file.fault import Fault
from tasks.usecases.batch_file.lines import LONGEST, lines_of
from tasks.usecases.batch_file.rows import Row
from tasks.usecases.batch_file.spool import Spool

_EXAMPLE = 'expected an object such as {"prompt": "a lighthouse"}'
_TOO_DEEP = "this JSON has a number that is too long or brackets nested too deeply"
_PIECE = 64 * 1024
_BLANK = re.compile(r"\s*")
#: fields of OpenAI's request around the body
_ENVELOPE = frozenset({"method", "url", "body"})
#: fields of the body that are allowed but have no effect here
_HARMLESS = frozenset({"model", "user", "metadata", "response_format"})


class _Twice(Exception):
    """A duplicate name in an object; JSON itself would silently keep the last value."""


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found


class _NoNumber(ValueError):
    """NaN or Infinity, which Python writes but JSON does not allow."""


def _refuse_constant(word: str) -> NoReturn:
    raise _NoNumber(word)


def _unreadable(error: Exception) -> str:
    if isinstance(error, _NoNumber):
        return f"invalid JSON: {error} is not a JSON number: write null, or leave the field out"
    return _TOO_DEEP


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_refuse_constant)


class JsonLines:
    columns = None

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def rows(self) -> Iterator[Row | Fault]:
        for number, line in enumerate(lines_of(self._spool), start=1):
            text = line.rstrip()
            begin = _BLANK.match(text).end()  # type: ignore[union-attr]  # it matches always
            if begin == len(text):
                continue
            try:
                value, end = _DECODER.raw_decode(text, begin)
            except _Twice as twice:
                yield Fault(number, str(twice), None, f"duplicate field {str(twice)!r}: keep one")
            except json.JSONDecodeError as error:
                yield Fault(number, error.colno, shown(text[error.pos :]), f"invalid JSON: {error.msg}")
            except (ValueError, RecursionError) as error:
                yield Fault(number, 1, None, _unreadable(error))
            else:
                if end < len(text):
                    what = "expected the end of the line: put each object on its own line"
                    yield Fault(number, end + 1, shown(text[end:]), what)
                else:
                    yield _row(value, number, begin + 1)


class JsonArray:
    columns = None

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    def rows(self) -> Iterator[Row | Fault]:
        """Yield the elements one by one; a syntax error in the JSON is the last."""
        window = _Window(self._spool)
        window.next_sign()
        window.at += 1
        if window.next_sign() == "]":
            window.at += 1
            yield from window.expect("")
            return
        while True:
            window.next_sign()
            line, column = window.place()
            try:
                value = window.value()
            except _Twice as twice:
                yield Fault(line, str(twice), None, f"duplicate field {str(twice)!r}: keep one")
                return
            except json.JSONDecodeError as error:
                line, column = window.place(error.pos)
                yield Fault(line, column, shown(error.doc[error.pos : error.pos + 100]), f"invalid JSON: {error.msg}")
                return
            except (ValueError, RecursionError) as error:
                yield Fault(line, column, None, _unreadable(error))
                return
            yield _row({"prompt": value} if isinstance(value, str) else value, line, column)
            if window.next_sign() != ",":
                yield from window.expect("]")
                return
            window.at += 1


class _Window:
    """The part of a text in memory; `at`: the position in it."""

    def __init__(self, spool: Spool) -> None:
        self._reader = spool.text()
        self._text = ""
        self._line = self._column = 1
        self.at = 0

    def next_sign(self) -> str:
        """Skip blanks; return the next character, or nothing at the end."""
        while True:
            self.at = _BLANK.match(self._text, self.at).end()  # type: ignore[union-attr]  # it matches always
            if self.at < len(self._text):
                return self._text[self.at]
            if not self._read():
                return ""

    def value(self) -> object:
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self.at)
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated") or error.pos > len(self._text) - 16
                if not is_cut or len(self._text) > LONGEST or not self._read():
                    raise
            else:
                self.at = end
                return value

    def place(self, at: int | None = None) -> tuple[int, int]:
        return _after(self._text[: self.at if at is None else at], self._line, self._column)

    def expect(self, sign: str) -> Iterator[Fault]:
        """Check that this character is next and that nothing follows."""
        for one in (sign, "") if sign else ("",):
            if (found := self.next_sign()) != one:
                what = "expected a comma or the end of the array" if one else "expected nothing after the array"
                yield Fault(*self.place(), found or None, f"invalid JSON: {what}")
                return
            self.at += len(one)

    def _read(self) -> bool:
        """Read as much again as is left, and drop what was consumed."""
        piece = self._reader.read(max(_PIECE, len(self._text) - self.at))
        self._line, self._column = self.place()
        self._text, self.at = self._text[self.at :] + piece, 0
        return bool(piece)


def _after(text: str, line: int, column: int) -> tuple[int, int]:
    """Return the place after this text, which begins at the given place."""
    lines = text.count("\n")
    return line + lines, (len(text) - text.rfind("\n") if lines else column + len(text))


def _row(value: object, line: int, column: int) -> Row | Fault:
    if not isinstance(value, dict):
        return Fault(line, column, shown(json.dumps(value)), _EXAMPLE)
    cells = value
    if isinstance(body := value.get("body"), dict):
        if foreign := next((name for name in body if not _may_be_in_body(name, body[name])), None):
            what = f"{foreign!r} in the body is not an option of any provider: leave it out"
            return Fault(line, foreign, shown(body[foreign]), what)
        both = body.keys() & value.keys()
        if both:
            name = min(both)
            return Fault(line, name, None, f"{name!r} is given both inside and outside the body: keep one")
        cells = {name: one for name, one in value.items() if name not in _ENVELOPE} | body
    found = {name: one for name, one in cells.items() if one not in (None, "")}
    return Row(line=line, cells=found, at=column)


def _may_be_in_body(name: str, value: object) -> bool:
    # OpenAI's clients request one image by default.
    return is_known(name) or name in _HARMLESS or word_of(name) == "options" or (name == "n" and value == 1)
