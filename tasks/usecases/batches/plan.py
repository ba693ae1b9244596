"""Which rows of a file are new to its batch, which exist already, and which have changed."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.batches.unapplied import unapplied
from tasks.usecases.row_versions import base_of, version_of
from worker.errors import RequestInvalid
from worker.generation import Generation
from worker.ledger import Ledger
from worker.ledger.generations import CHOICE, BatchFacts, KnownRow, NewGeneration
from worker.secrets import secrets_hidden

#: rows whose versions are shown field by field
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Changed:
    """A row that differs from the one under its key. `fields`: name, before, now."""

    row_number: int | None
    key: str
    fields: tuple[tuple[str, object, object], ...]

    def __str__(self) -> str:
        told = "; ".join(f"{name}: {_told(before)} → {_told(now)}" for name, before, now in self.fields)
        return f"row {self.row_number}, key {self.key!r}: {told or 'written differently'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`existing`: position among all wanted → id of its generation. `versions`: how many of the new are new versions.

    `new`: all others; empty if they are only counted. `unapplied`: options of the command that differ from
    existing rows.
    """

    batch: BatchFacts | None
    new: tuple[NewGeneration, ...]
    existing: Mapping[int, str]
    versions: int
    unapplied: tuple[str, ...]


def row_dedupe(name: str, row: str, version: int = 1) -> str:
    """Return the unique name that ties a row of that batch to one generation.

    Parts of names and keys cannot collide.
    """
    start = f"batch:{_escaped(name)}:{row}"
    return start if version == 1 else f"{start}:v{version}"


def plan(
    ledger: Ledger, name: str, wanted: Sequence[NewGeneration], request: BatchRequest, *, counts_only: bool = False
) -> Plan:
    """Compare all rows of a file with the batch of this name.

    Raises RequestInvalid if some have changed, unless the request makes new versions of them.
    """
    batch = ledger.generations.batch_named(name)
    known = _Known(ledger, name, batch, wanted)
    new: list[NewGeneration] = []
    existing: dict[int, str] = {}
    changed: list[tuple[NewGeneration, KnownRow]] = []
    versions = 0
    for position, one in enumerate(known.named(wanted)):
        found, version = known.look(one)
        if found is not None and version is None:
            existing[position] = found.id
        elif found is not None and not request.new_version:
            changed.append((one, found))
        else:
            versions += found is not None
            if not counts_only:
                new.append(_in_version(name, one, version or 1))
    if changed:
        raise RequestInvalid(_refusal(ledger, name, changed))
    if batch is None and known.old:
        # From now on, a batch of an older version is found by its name.
        batch = ledger.generations.batch_facts(max(row.batch_id for row in known.old.values()))
    return Plan(
        batch=batch,
        new=tuple(new),
        existing=existing,
        versions=versions,
        unapplied=unapplied(ledger, batch, existing, wanted, request),
    )


class _Known:
    """The existing rows of a batch, by name."""

    def __init__(self, ledger: Ledger, name: str, batch: BatchFacts | None, wanted: Sequence[NewGeneration]) -> None:
        self._ledger, self._name = ledger, name
        self._by_dedupe: dict[str, KnownRow] = {}
        #: all versions of a row, and all that a template made from it
        self._families: defaultdict[str, list[KnownRow]] = defaultdict(list)
        self._by_key: defaultdict[str, list[KnownRow]] = defaultdict(list)
        for row in ledger.generations.rows_of_batch(batch.id) if batch else ():
            self._by_dedupe[row.dedupe] = row
            if row.key is not None:
                self._by_key[row.key].append(row)
                self._families[base_of(row.key, is_choice=row.is_choice)].append(row)
        keys = [one.key for one in wanted if one.key is not None and one.key not in self._families]
        #: by key: rows that older versions of the program wrote to batches of this name
        self.old = ledger.generations.old_rows_of(name, keys) if keys else {}
        self._old = {one.id: one for one in ledger.generations.get([row.id for row in self.old.values()])}

    def named(self, wanted: Sequence[NewGeneration]) -> Iterator[NewGeneration]:
        """Yield each with the `dedupe` of its first version. Raises RequestInvalid for a duplicate key."""
        seen: Counter[str | None] = Counter()
        keys: set[str] = set()
        for one in wanted:
            if one.key is None:
                seen[one.row_sha256] += 1
                row = f"~{one.row_sha256}-{seen[one.row_sha256]}"
            else:
                row = _escaped_key(one.key)
                if row in keys:
                    raise RequestInvalid(f"the key {one.key!r} is used twice; in a batch each row needs its own")
                keys.add(row)
            yield replace(one, dedupe=row_dedupe(self._name, row))

    def look(self, one: NewGeneration) -> tuple[KnownRow | None, int | None]:
        """Return the existing row, and which version of it this one would be; None if it is unchanged."""
        if one.key is None:
            return self._by_dedupe.get(str(one.dedupe)), None
        if (old := self.old.get(one.key)) is not None and not self._families.get(one.key):
            return old, None if _is_as_before(one, self._old[old.id]) else 2
        base = base_of(one.key, is_choice=CHOICE in one.input)
        family = self._families.get(base, [])
        # A file of failing rows has one of a template's entries as a separate row.
        if own := [row for row in self._by_key.get(one.key, ()) if base_of(one.key, is_choice=row.is_choice) != base]:
            family = [*family, *own]
        same = [row for row in family if row.row_sha256 == one.row_sha256]
        if mine := [row for row in same if row.key == one.key]:
            return max(mine, key=version_of), None
        if same:
            # A different template makes more from the same row.
            return None, max(map(version_of, same))
        if not family:
            return None, 1
        return max(family, key=version_of), max(map(version_of, family)) + 1


def _is_as_before(one: NewGeneration, known: Generation) -> bool:
    """Compare only what the row itself says; what command options add may differ."""
    return (one.request.operation, one.request.prompt) == (known.operation, known.prompt)


def _in_version(name: str, one: NewGeneration, version: int) -> NewGeneration:
    if version == 1 or one.key is None:
        return one
    return replace(one, row_version=version, dedupe=row_dedupe(name, _escaped_key(one.key), version))


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace(":", "%3A")


def _escaped_key(key: str) -> str:
    escaped = _escaped(key)
    return f"%7E{escaped[1:]}" if escaped.startswith("~") else escaped


def _refusal(ledger: Ledger, name: str, changed: Sequence[tuple[NewGeneration, KnownRow]]) -> str:
    shown = changed[:_SHOWN]
    before = ledger.generations.get([row.id for _, row in shown])
    lines = [
        f"  {Changed(one.row_number, str(one.key), tuple(_differences(known, one)))}"
        for (one, _), known in zip(shown, before, strict=True)
    ]
    if len(changed) > _SHOWN:
        lines.append(f"  … and {len(changed) - _SHOWN:,} more")
    rows = "row was" if len(changed) == 1 else "rows were"
    return "\n".join([
        f"{len(changed):,} {rows} changed since the batch {name!r} was submitted (before → now):",
        *lines,
        "nothing was written: --new-version submits the changed rows again; or give another name with --name",
    ])  # fmt: skip


def _differences(known: Generation, one: NewGeneration) -> Iterator[tuple[str, object, object]]:
    options = known.options, one.request.options
    pairs = [
        ("prompt", known.prompt, one.request.prompt),
        ("operation", str(known.operation), str(one.request.operation)),
        *(
            (column, known.input.get(column), one.input.get(column))
            for column in {**known.input, **one.input}
            if column != CHOICE
        ),
        *((option, options[0].get(option), options[1].get(option)) for option in {**options[0], **options[1]}),
        ("follow_up", ",".join(known.follow_up), ",".join(one.follow_up)),
        ("recipe", known.recipe_name, one.recipe and one.recipe.name),
        ("priority", known.priority, one.priority),
    ]
    if not known.provider_changes:
        pairs.append(("provider", known.provider, one.provider))
    return (pair for pair in pairs if pair[1] != pair[2])


def _told(value: object) -> str:
    text = str(secrets_hidden(value if isinstance(value, str) else repr(value)))
    return repr(text if len(text) <= 80 else f"{text[:79]}…") if isinstance(value, str) else text
