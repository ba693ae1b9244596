"""All mistakes in the entries of one request, each with its path."""

from collections.abc import Sequence
from typing import NamedTuple

from tasks.usecases.batch_file import expand_entry
from tasks.usecases.entry import Entry
from tasks.usecases.entry_check import EntryInvalid, generation_of, other_mistakes
from tasks.usecases.submit import Checked, SubmitRequest, repeated_keys, with_warnings
from worker.errors import ConfigurationError, RequestInvalid
from worker.ledger.generations import NewGeneration
from worker.services import Services

#: parts of an entry, the most telling first
_PARTS = ("key", "priority", "labels", "notify", "recipe", "follow_up", "provider", "operation", "prompt")


class Mistake(NamedTuple):
    """`path`: where it is below the entry, such as `("options", "version")`; empty: the entry as a whole.

    `missing`: a required option that is absent.
    """

    entry: Entry
    path: tuple[str, ...]
    message: str
    missing: str | None = None


class EntriesInvalid(RequestInvalid):
    """Several entries, or several parts of one, are wrong; nothing was written."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("; ".join(one.message for one in mistakes))
        self.mistakes = tuple(mistakes)


def check_all(services: Services, request: SubmitRequest) -> Checked:
    """Check as `check` does, but raise EntriesInvalid with every mistake.

    ConfigurationError only if the default provider is not set up.
    """
    mistakes = [Mistake(entry, _path(entry, "key"), told) for entry, told in repeated_keys(request.entries)]
    entries: list[Entry] = []
    wanted: list[NewGeneration] = []
    defaults = request.defaults_with(request.defaults.files)
    for given in request.entries:
        try:
            # Its prompt is a template, as everywhere, but must make a single generation.
            (entry,) = expand_entry(given, 1)
        except RequestInvalid as error:
            mistakes.append(Mistake(given, ("prompt",), str(error)))
            continue
        providers = entry.provider or defaults.provider
        try:
            wanted.append(generation_of(services, entry, defaults, providers))
            entries.append(entry)
        except EntryInvalid as invalid:
            if isinstance(invalid.error, ConfigurationError) and not entry.provider:
                raise invalid.error from None
            mistakes.append(_mistake(entry, invalid))
            others = other_mistakes(services, entry, defaults, providers, invalid)
            mistakes += (_mistake(entry, other) for other in others)
    if mistakes:
        raise EntriesInvalid(mistakes)
    return with_warnings(services, request, entries, wanted, defaults.files)


def _mistake(entry: Entry, invalid: EntryInvalid) -> Mistake:
    options = sorted(invalid.about & entry.options.keys())
    if options or "options" in invalid.about:
        path: tuple[str, ...] = ("options", *options[:1])
    else:
        named = invalid.about or (invalid.parts & entry.said)
        word = next((part for part in _PARTS if part in named), None)
        # If it is about something that is not part of an entry, that is a missing option.
        others = ("options",) if invalid.about - set(_PARTS) and word is None else ()
        path = others if word is None else _path(entry, word)
    missing = min(invalid.about - entry.options.keys() - {*_PARTS, "options"}, default=None)
    return Mistake(entry, path, str(invalid), missing if path == ("options",) else None)


def _path(entry: Entry, part: str) -> tuple[str, ...]:
    return (entry.columns.get(part, part),)
