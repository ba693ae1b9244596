"""Results as a table: one row per generation, the user's own columns between its key and its state."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from worker.generation import AssetState
from worker.ledger.generations import ResultColumns

#: what a cell may hold; None is empty
Cell = str | int | Decimal | None
Document = Mapping[str, Any]

#: spreadsheets take a text that begins with one of these for a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
#: facts of each file, in the order of their columns
_FACTS = ("sha256", "bytes", "content_type", "width", "height")
_BEFORE = ("prompt", "state", "reason", "message", "remedy")
_BEHIND = (
    *("root_key", "parent", "action", "recipe", "step", "operation", "provider", "row", "version", "id"),
    "finished_at",
)


@dataclass(frozen=True, slots=True)
class Column:
    """`is_link`: its cells are links."""

    title: str
    read: Callable[[Document], Cell]
    is_link: bool = False


def columns_of(found: ResultColumns, choice: str, *, has_links: bool) -> list[Column]:
    """Return the columns of a batch's table; a user's column with one of our names is called `input.NAME`.

    `choice`: the name of a template's choice among the inputs.
    """
    ours = [Column("key", lambda one: one["key"])]
    middle = [_fact(name) for name in (["choice"] if choice in found.inputs else [])]
    middle += [_fact(name) for name in _BEFORE]
    middle += [Column("cost", _cost), Column("files", lambda one: len(_stored(one)))]
    middle += _of_files("object_key", found.files)
    if has_links:
        middle += [*_of_files("link", found.files, is_link=True), Column("links_expire_at", _expiry)]
    behind = [_fact(name) for name in _BEHIND]
    behind += [Column(f"label.{name}", _part("labels", name)) for name in found.labels]
    behind += [column for fact in _FACTS for column in _of_files(fact, found.files)]
    taken = {column.title for column in (*ours, *middle, *behind)}
    inputs = [name for name in found.inputs if name != choice]
    titles = {name: f"input.{name}" if name in taken else name for name in inputs}
    return [*ours, *(Column(titles[name], _part("input", name)) for name in inputs), *middle, *behind]


def guarded(text: str) -> str:
    """Return the text in a form that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_cell(value: object) -> Cell:
    """Return a value from the user or from a JSON document as a cell."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return json.dumps(value, ensure_ascii=False)


def as_texts(cells: Iterable[Cell]) -> list[str]:
    return ["" if cell is None else str(cell) for cell in cells]


def _fact(name: str) -> Column:
    return Column(name, lambda one: as_cell(one[name]))


def _part(document: str, name: str) -> Callable[[Document], Cell]:
    return lambda one: as_cell(one[document].get(name))


def _of_files(fact: str, count: int, *, is_link: bool = False) -> list[Column]:
    def read(at: int) -> Callable[[Document], Cell]:
        return lambda one: _fact_of(_stored(one), at, fact)

    return [Column(f"{fact}_{at + 1}", read(at), is_link) for at in range(count)]


def _fact_of(stored: Sequence[Document], at: int, fact: str) -> Cell:
    return next((as_cell(asset.get(fact)) for asset in stored if asset["index"] == at), None)


def _stored(one: Document) -> list[Document]:
    return [asset for asset in one["assets"] if asset["state"] == AssetState.STORED]


def _cost(one: Document) -> Cell:
    return None if one["cost"] is None else Decimal(one["cost"])


def _expiry(one: Document) -> Cell:
    stored = _stored(one)
    return stored[0]["link_expires_at"] if stored else None
