"""Turns a row into entries: types its columns, and fills in and expands its prompt."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from tasks.shown import shown
from tasks.usecases.batch_file.columns import ERROR, Columns, word_of
from tasks.usecases.batch_file.excel import LeadingZeros, damage_in_key, damage_in_option
from tasks.usecases.batch_file.fault import Fault
from tasks.usecases.batch_file.misfits import CONTROL
from tasks.usecases.batch_file.rows import Row
from tasks.usecases.batch_file.template import MANY, Template, read_template
from tasks.usecases.entry import FIRST, LONGEST_KEY, PRIORITIES, UNSTORABLE, Entry, Place
from worker.errors import RequestInvalid
from worker.generation import Operation

#: the name in `Entry.input` of the alternatives chosen from the template
CHOICE = "_choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How rows are read. `names`: the columns that a prompt may fill in; None: the columns of its row.

    `template` replaces the prompts; `limit`: entries per row.
    """

    file: str
    names: Collection[str] | None
    template: Template | None
    limit: int
    zeros: LeadingZeros

    def count(self, row: Row, columns: Columns) -> int:
        """Return how many entries the row makes, 0 if its template is invalid."""
        if self.template is not None:
            return self.template.count
        try:
            return self._template(_text(row.cells.get(columns.fields.get("prompt", ""), "")), row).count
        except RequestInvalid:
            return 0

    def entries(self, row: Row, columns: Columns, number: int) -> Iterator[Entry | Fault]:
        """Yield the row's entries, or all its faults."""
        cells = _Cells(row, columns)
        key, prompt = cells.key(self.zeros), cells.text("prompt") or ""
        entry = Entry(
            place=Place(self.file, row.line, row.at),
            prompt="",
            options=cells.options(),
            follow_up=cells.follow_up(),
            recipe=cells.text("recipe"),
            priority=cells.priority(),
            provider=cells.text("provider"),
            operation=cells.operation(),
            labels=cells.labels(),
            row_number=number,
            row_sha256=digest_of(row.cells),
            columns={} if row.is_text else columns.known,
        )
        cells.check_damage()
        cells.check_texts()
        cells.check_notify()
        template = self.template
        try:
            template = template or self._template(prompt, row)
        except RequestInvalid as error:
            cells.fault("prompt", str(error), at=error.at)
        if template is not None and template.count > self.limit:
            number_of = f"{'more than ' if template.count == MANY else ''}{template.count:,}"
            what = f"this makes {number_of} generations from one row, above the limit of {self.limit} (--expand-limit)"
            cells.fault("prompt" if self.template is None else None, what)
        if cells.faults or template is None:
            yield from (fault._replace(row=number) for fault in cells.faults)
            return
        own = {name: row.cells[name] for name in columns.own if name in row.cells}
        texts = {name: _text(cell) for name, cell in row.cells.items()} if template.columns else {}
        for position, (text, choice) in enumerate(template.prompts(texts), start=1):
            yield replace(
                entry,
                prompt=text,
                key=key if key is None or template.count == 1 else f"{key}/{position}",
                input={**own, CHOICE: ", ".join(choice)} if choice else own,
                # In an assembled prompt, a position says nothing about the file.
                locate=partial(_place_in, entry, row.is_text and text == prompt),
            )

    def _template(self, prompt: str, row: Row) -> Template:
        return read_template(prompt, row.cells.keys() if self.names is None else self.names)


def digest_of(cells: Mapping[str, object]) -> str:
    """Return a digest that distinguishes this row, as written, from a changed one."""
    written = {name: cell for name, cell in cells.items() if name.lower() != ERROR}
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()


def key_of(row: Row, columns: Columns) -> str | None:
    """Return the row's key, if it has one."""
    value = row.cells.get(columns.key or "")
    return None if value is None else str(value).strip()


def expand_entry(entry: Entry, limit: int) -> list[Entry]:
    """Return the entries that an entry's prompt expands to, without a file. Raises RequestInvalid above `limit`."""
    try:
        template = read_template(entry.prompt, ())
    except RequestInvalid as error:
        raise RequestInvalid(f"{entry.place_of(error.at)}: {error}") from error
    if template.count > limit:
        raise RequestInvalid(f"the prompt makes {template.count:,} generations, above the limit of {limit}")
    if template.count == 1:
        ((text, _),) = template.prompts({})
        return [replace(entry, prompt=text)]
    return [
        replace(
            entry,
            prompt=text,
            key=entry.key and f"{entry.key}/{position}",
            input={**entry.input, CHOICE: ", ".join(choice)},
            locate=lambda _: entry.place,
        )
        for position, (text, choice) in enumerate(template.prompts({}), start=1)
    ]


class _Cells:
    """The cells of one row as our types; mistakes are collected in `faults`."""

    def __init__(self, row: Row, columns: Columns) -> None:
        self._row = row
        self._columns = columns
        self.faults: list[Fault] = []

    def fault(self, word: str | None, what: str, *, at: int | None = None) -> None:
        """Record a fault in this word's column; None: in no column."""
        name = None if word is None else self._columns.known.get(word, word)
        self._note(name, what, at)

    def _note(self, name: str | None, what: str, at: int | None = None) -> None:
        value = self._row.cells.get(name or "")
        column: str | int | None = name
        if self._row.is_text:
            column = (self._row.at or 1) + (at or 0)
            value = None if value is None else str(value)[at or 0 :]
        self.faults.append(Fault(self._row.line, column, None if value is None else shown(value), what))

    def key(self, zeros: LeadingZeros) -> str | None:
        name = self._columns.key
        value = self._row.cells.get(name or "")
        if name is None or value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
            self._note(name, "a key must be non-empty text")
            return None
        key = str(value).strip()
        if len(key) > LONGEST_KEY:
            self._note(name, f"a key can have at most {LONGEST_KEY} characters")
        elif what := damage_in_key(key) or zeros.lost_in(key) or self._control(key):
            self._note(name, what)
        return key

    def text(self, word: str) -> str | None:
        value = self._cell(word)
        if value is None:
            return None
        if not isinstance(value, str):
            self.fault(word, "expected text")
            return None
        if what := self._control(value):
            self.fault(word, what)
        return value.strip()

    def check_notify(self) -> None:
        """Refuse a notify address in a row: nothing would be sent to it, and results would show it."""
        for name in self._columns.own:
            if word_of(name) == "notify" and str(self._row.cells.get(name)).startswith(("https://", "http://")):
                what = "a row cannot have its own address for events: give one for the whole batch with --notify"
                # Leave out the address, which may contain a token.
                self.faults.append(Fault(self._row.line, name, None, what))

    def follow_up(self) -> str | None:
        value = self._cell("follow_up")
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return ",".join(value)
        if value is not None and not isinstance(value, str):
            self.fault("follow_up", 'expected text such as "upscale1,upscale3" or a list of such strings')
            return None
        return value

    def priority(self) -> int | None:
        value = self._cell("priority")
        if value is None:
            return None
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if isinstance(number, bool) or not isinstance(number, int) or number not in PRIORITIES:
            self.fault("priority", "expected a whole number")
            return None
        return number

    def operation(self) -> Operation | None:
        value = self._cell("operation")
        if value is None:
            return None
        word = value.strip().lower() if isinstance(value, str) else value
        if word not in FIRST:
            self.fault("operation", f"expected one of {', '.join(FIRST)}")
            return None
        return Operation(str(word))

    def options(self) -> dict[str, object]:
        cells = self._row.cells
        found: dict[str, object] = {}
        for name in self._columns.nested:
            nested = cells[name]
            if isinstance(nested, dict):
                found.update(nested)
            else:
                self._note(name, 'expected an object such as {"aspect_ratio": "16:9"}')
        for word, name in self._columns.options.items():
            if name not in cells:
                continue
            if word in found:
                self._note(name, f"the option {word} is given twice: keep one")
            value = found[word] = cells[name]
            if isinstance(value, str) and (what := damage_in_option(word, value)):
                self._note(name, what)
        return found

    def labels(self) -> dict[str, str]:
        found = {}
        for label, name in self._columns.labels.items():
            if (value := self._row.cells.get(name)) is not None:
                found[label] = _text(value)
        return found

    def check_damage(self) -> None:
        """Record damage that the spreadsheet itself reports about its cells."""
        if not self._row.damaged:
            return
        known = {self._columns.key, *self._columns.known.values()}
        noted = {fault.column for fault in self.faults}
        for name, damage in self._row.damaged.items():
            if name in noted:
                continue
            if damage.is_lost or name in known:
                self._note(name, damage.what)

    def check_texts(self) -> None:
        """Record names and cells with characters that the ledger cannot store."""
        noted = {fault.column for fault in self.faults}
        for name, value in self._row.cells.items():
            if name not in noted and any(map(UNSTORABLE.search, (name, *_texts_in(value)))):
                self._note(name, "a NUL or half a character, which cannot be stored: copy the text again")

    def _cell(self, word: str) -> object:
        name = self._columns.fields.get(word)
        return None if name is None else self._row.cells.get(name)

    def _control(self, text: str) -> str | None:
        if found := CONTROL.search(text):
            return f"a control character (U+{ord(found[0]):04X}): remove it"
        return None


def _texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for one in value.values():
            yield from _texts_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts_in(one)


def _text(cell: object) -> str:
    if isinstance(cell, str):
        return cell
    return str(cell).lower() if isinstance(cell, bool) else json.dumps(cell, ensure_ascii=False)


def _place_in(entry: Entry, is_written: bool, at: int) -> Place:
    """Return the place of a character of the prompt; `is_written`: the prompt is in the file verbatim."""
    place = entry.place
    if is_written and isinstance(place.column, int):
        return replace(place, column=place.column + at)
    return replace(place, column=entry.columns.get("prompt", place.column))
