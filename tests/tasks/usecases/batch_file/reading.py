"""Reads files from memory."""

import io

from tasks.usecases.batch_file import EXPAND_LIMIT, Fault, open_batch_file
from tasks.usecases.batch_file import read_entries as entries_of
from tasks.usecases.entry import Entry


def read_entries(name: str, raw: bytes | str) -> list[Entry]:
    """All entries, unless there is a fault."""
    with open_batch_file(name, io.BytesIO(raw.encode() if isinstance(raw, str) else raw)) as file:
        return entries_of(file)


def read_all(
    name: str, raw: bytes | str, template: str | None = None, limit: int = EXPAND_LIMIT, sheet: str | None = None
) -> tuple[list[Entry], list[str]]:
    """The entries, and the sentences about the faults."""
    with open_batch_file(name, io.BytesIO(raw.encode() if isinstance(raw, str) else raw), sheet) as file:
        found = list(file.rows(template, limit))
    entries = [one for one in found if isinstance(one, Entry)]
    return entries, [one.sentence(name).removeprefix(f"{name}, ") for one in found if isinstance(one, Fault)]
