"""Determines from their names what the columns of a file mean."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, cached_property

from tasks.usecases.batch_file.fault import refuse
from worker.errors import RequestInvalid
from worker.providers import PROVIDERS, provider_class

KEYS = ("key", "custom_id", "id", "sku")
#: columns that say something about the generation itself
FIELDS = ("prompt", "provider", "operation", "follow_up", "recipe", "priority")
#: written to the errors file, and ignored when that file is submitted
ERROR = "error"
_LABEL = "label."
_LIKE_LABEL = re.compile(r"labels?[_:.](\w+)")
#: chosen so that `aspect_ration` counts as a typo, and a shop's own column `style` does not
_ALIKE = 0.84
_OBJECT = "give each option its own column, such as aspect_ratio"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns mean what: our words → the file's columns. `own`: the user's; `nested`: an object with options."""

    keys: dict[str, str] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    own: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)

    @cached_property
    def key(self) -> str | None:
        return self.keys.get("key")

    @cached_property
    def known(self) -> dict[str, str]:
        """Return the columns that hold fields and options of the request."""
        return {**self.fields, **self.options}


@cache
def option_names() -> frozenset[str]:
    """Return the names of all options of all providers."""
    tables = (one for name in PROVIDERS for one in provider_class(name).capabilities.values())
    return frozenset(name for capability in tables for name in capability.options)


def word_of(name: str) -> str:
    """Return the name in the spelling of our words: `Aspect Ratio` is aspect_ratio."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def is_known(name: str) -> bool:
    """Return whether a column's name means something to Darkroom."""
    word = word_of(name)
    return word in {*KEYS, *FIELDS, ERROR} or word in option_names() or word.startswith(_LABEL)


def columns_of(names: Sequence[str], *, is_table: bool = True) -> Columns:
    """Classify the columns. Raises RequestInvalid, naming the column, if they contradict each other."""
    found = Columns()
    for name in names:
        word = word_of(name)
        if word == "options" and is_table:
            _refuse(name, _OBJECT)
        elif word in KEYS:
            found.keys["key"] = _once(found.keys, "key", name)
        elif word in FIELDS:
            found.fields[word] = _once(found.fields, word, name)
        elif word in option_names():
            found.options[word] = _once(found.options, word, name)
        elif word == "options":
            found.nested.append(name)
        elif word.startswith(_LABEL):
            label = name.strip()[len(_LABEL) :].strip()
            if not label:
                _refuse(name, "a label column needs the label's name, such as label.client")
            found.labels[label] = _once(found.labels, label, name)
        elif word != ERROR:
            found.own.append(name)
    return found


def _once(known: Mapping[str, str], word: str, name: str) -> str:
    if word in known:
        _refuse(name, f"{known[word]} and {name} mean the same: rename one of them")
    return name


def misspelt(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the user's own columns that look like one of ours, with our name."""
    ours = sorted({*KEYS, *FIELDS, *option_names()})
    for name in names:
        word = word_of(name)
        if is_known(name) or word == "options":
            continue
        if label := _LIKE_LABEL.fullmatch(word):
            yield name, f"{_LABEL}{label[1]}"
        elif meant := get_close_matches(word, ours, 1, _ALIKE):
            yield name, meant[0]


def header_of(file: str, line: int, names: Sequence[str]) -> tuple[str, ...]:
    """Return a table's column names; empty for columns without a name. Raises RequestInvalid."""
    found = tuple(name.strip() for name in names)
    while found and not found[-1]:
        found = found[:-1]
    for position, name in enumerate(found, start=1):
        if name and name in found[: position - 1]:
            refuse(file, line, name, f"two columns are named {name}: rename one of them")
    try:
        columns_of([name for name in found if name])
    except RequestInvalid as error:
        refuse(file, line, next(iter(error.about)), str(error))
    return found


def _refuse(name: str, message: str) -> None:
    raise RequestInvalid(message, about=(name,))
