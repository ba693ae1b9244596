"""All that is wrong with the entries of one request, each with its path."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tasks.usecases.batch_file import expand_entry, oddities_of
from tasks.usecases.entry import Entry
from tasks.usecases.entry_check import EntryInvalid, doubts_about, generation_of, other_mistakes
from tasks.usecases.submit import Checked, SubmitRequest
from worker.errors import ConfigurationError, RequestInvalid
from worker.ledger.generations import NewGeneration
from worker.services import Services

#: parts of an entry, those that say most first
_PARTS = ("key", "priority", "labels", "recipe", "follow_up", "provider", "operation", "prompt")


class Mistake(NamedTuple):
    """`path`: where it is below the entry, such as `("options", "version")`; empty: the entry as a whole."""

    entry: Entry
    path: tuple[str, ...]
    message: str


class EntriesInvalid(RequestInvalid):
    """Several entries, or several parts of one, are wrong; nothing was written."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("; ".join(one.message for one in mistakes))
        self.mistakes = tuple(mistakes)


def check_all(services: Services, request: SubmitRequest) -> Checked:
    """As `check`, but raises EntriesInvalid with every mistake.

    ConfigurationError only if the default provider is not set up.
    """
    mistakes = list(_repeated_keys(request.entries))
    entries: list[Entry] = []
    wanted: list[NewGeneration] = []
    defaults = request.defaults_with(request.defaults.files)
    for given in request.entries:
        try:
            # Its prompt is a template, as everywhere, but makes one generation.
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
    warnings = tuple(
        (*said, *doubts_about(services, entry.place, new))
        for entry, said, new in zip(entries, oddities_of(entries), wanted, strict=True)
    )
    return Checked(
        wanted=tuple(wanted),
        warnings=warnings,
        batch=request.named_batch,
        is_batch=request.is_batch,
        files=defaults.files,
    )


def _repeated_keys(entries: Sequence[Entry]) -> Iterator[Mistake]:
    seen: dict[str, Entry] = {}
    for entry in entries:
        if entry.key is not None and (first := seen.setdefault(entry.key, entry)) is not entry:
            told = f"the key {entry.key!r} is already used in {first.place}"
            yield Mistake(entry, _path(entry, "key"), told)


def _mistake(entry: Entry, invalid: EntryInvalid) -> Mistake:
    options = sorted(invalid.about & entry.options.keys())
    if options or "options" in invalid.about:
        path: tuple[str, ...] = ("options", *options[:1])
    else:
        named = invalid.about or (invalid.parts & entry.said)
        word = next((part for part in _PARTS if part in named), None)
        # What it is about, and is no part of an entry, is an option that is missing.
        missing = ("options",) if invalid.about - set(_PARTS) and word is None else ()
        path = missing if word is None else _path(entry, word)
    return Mistake(entry, path, str(invalid))


def _path(entry: Entry, part: str) -> tuple[str, ...]:
    return (entry.columns.get(part, part),)
