r"""Prompt templates: `{column}` is filled in, `{red, blue}` makes several prompts, as in Midjourney.

`\,` `\{` `\}` `\|` `\_` are literal. Only the template is parsed: a column's text is inserted verbatim.
"""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from worker.errors import RequestInvalid

#: more than anyone wants; larger counts are not computed
MANY = 10**12
_DEPTH = 10
_SIGN = re.compile(r"\\[,{}|_]|[{},|]")
_SPECIAL = re.compile(r"[{}]|\\[{}_]|__")
#: of sd-dynamic-prompts: `{2$$red|blue}` and `__colour__`
_DRAW = re.compile(r"\{\s*[0-9]*(-[0-9]*)?\$\$")
_WILDCARD = re.compile(r"(?<![\w\\])__[A-Za-z][\w/*-]*?__(?!\w)")


@dataclass(frozen=True, slots=True)
class _Column:
    name: str


@dataclass(frozen=True, slots=True)
class _Choice:
    alternatives: tuple["_Parts", ...]


_Parts = tuple["str | _Column | _Choice", ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A template.

    `count`: the number of prompts that it makes from one row, at most `MANY`; `columns`: those it fills in.
    """

    parts: _Parts
    count: int
    columns: frozenset[str]

    def prompts(self, cells: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each prompt with the alternatives chosen in it."""
        for text, choice in _texts(self.parts, cells):
            yield text.strip(), choice


def read_template(text: str, columns: Collection[str]) -> Template:
    """Parse a template for rows with these columns; raises RequestInvalid with the position of the mistake."""
    if not _SPECIAL.search(text):
        return Template((text,), 1, frozenset())
    if wildcard := _WILDCARD.search(text):
        raise RequestInvalid(
            f"{wildcard[0]!r} is a wildcard from other programs: write the words as {{red, blue}}, or \\__ for "
            "the characters themselves",
            at=wildcard.start(),
        )
    reader = _Reader(text, columns)
    parts = reader.sequence(0)
    if reader.at < len(text):
        raise RequestInvalid("this } has no opening brace; write \\} for the character itself", at=reader.at)
    return Template(parts, _count(parts), frozenset(reader.used))


class _Reader:
    def __init__(self, text: str, columns: Collection[str]) -> None:
        self._text = text
        self._columns = columns
        self.at = 0
        self.used: set[str] = set()

    def sequence(self, depth: int) -> _Parts:
        """Read to the end of the text or of this alternative."""
        parts: list[str | _Column | _Choice] = []
        begin = self.at
        while found := _SIGN.search(self._text, self.at):
            sign = found[0]
            self.at = found.end()
            if depth == 0 and sign[-1] in ",|":
                continue
            parts.append(self._text[begin : found.start()])
            if sign == "{":
                parts.append(self._braces(found.start(), depth + 1))
            elif sign[0] == "\\":
                parts.append(sign[1])
            else:
                self.at = found.start()
                return tuple(filter(None, parts))
            begin = self.at
        parts.append(self._text[begin:])
        self.at = len(self._text)
        return tuple(filter(None, parts))

    def _braces(self, start: int, depth: int) -> "_Column | _Choice":
        if depth > _DEPTH:
            raise RequestInvalid(f"braces nested more than {_DEPTH} deep", at=start)
        if _DRAW.match(self._text, start):
            raise RequestInvalid(
                "{2$$…} is syntax from another program: write {red, blue}, which makes a prompt from each", at=start
            )
        alternatives = [self.sequence(depth)]
        while self._text[self.at : self.at + 1] == ",":
            self.at += 1
            alternatives.append(self.sequence(depth))
        ended_by = self._text[self.at : self.at + 1]
        if not ended_by:
            raise RequestInvalid(
                "this { is never closed: in CSV, quote texts with commas; write \\{ for the character itself", at=start
            )
        if ended_by == "|":
            raise RequestInvalid(
                "{a|b} is syntax from another program: separate alternatives by commas, {a, b}; "
                "write \\| for the character itself",
                at=self.at,
            )
        self.at += 1
        if len(alternatives) > 1:
            return _Choice(tuple(map(_stripped, alternatives)))
        return self._column(start, self._text[start + 1 : self.at - 1].strip())

    def _column(self, start: int, name: str) -> _Column:
        if name not in self._columns:
            known = f"the columns are {', '.join(self._columns)}" if self._columns else "there are no columns here"
            raise RequestInvalid(
                f"{{{name[:40]}}} is not a column and has no comma; {known}. Write {{red, blue}} for alternatives, or "
                "\\{ for the character itself",
                at=start,
            )
        self.used.add(name)
        return _Column(name)


def _stripped(parts: _Parts) -> _Parts:
    """Strip the spaces around an alternative."""
    if not parts:
        return parts
    first, *others = parts
    if isinstance(first, str):
        first = first.lstrip()
    parts = (first, *others)
    *others, last = parts
    return (*others, last.rstrip() if isinstance(last, str) else last)


def _count(parts: _Parts) -> int:
    count = 1
    for part in parts:
        if isinstance(part, _Choice):
            count = min(MANY, count * sum(map(_count, part.alternatives)))
    return count


def _texts(parts: _Parts, cells: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for each in itertools.product(*(_each(part, cells) for part in parts)):
        yield "".join(text for text, _ in each), tuple(one for _, choice in each for one in choice)


def _each(part: "str | _Column | _Choice", cells: Mapping[str, str]) -> list[tuple[str, tuple[str, ...]]]:
    if isinstance(part, str):
        return [(part, ())]
    if isinstance(part, _Column):
        return [(cells.get(part.name, ""), ())]
    return [(text, (text,)) for alternative in part.alternatives for text, _ in _texts(alternative, cells)]
