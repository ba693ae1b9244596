"""Resolves the names that people use for generations and batches."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from tasks.durations import duration
from tasks.shown import shown
from worker.errors import NotFound, RequestInvalid
from worker.generation import TEST_BATCH, Generation
from worker.ledger import Ledger
from worker.ledger.generations import Batch, Keyed, short_id
from worker.secrets import links_hidden

__all__ = [
    "Batch",
    "batch_name",
    "batches_called",
    "find_batch",
    "find_generation",
    "find_generations",
    "newest_batch",
    "short_id",
]

#: maximum number of candidates that an error lists
_LISTED = 8
#: characters of a key or prompt in such a list
_PROMPT = 40


def find_generation(ledger: Ledger, name: str) -> str:
    """Return the id of a generation by its id, key, `BATCH/KEY`, short id, or part of its id.

    If a key has several versions in its batch, return the newest. Raises NotFound; RequestInvalid if the name is
    ambiguous.
    """
    return find_generations(ledger, [name])[0]


def find_generations(ledger: Ledger, names: Sequence[str], *, has_batch_option: bool = False) -> list[str]:
    """Return the ids in this order, without duplicates. Raises as `find_generation` does.

    `has_batch_option`: the calling command has --batch, so the error for a batch's name suggests it.
    """
    wanted = list(dict.fromkeys(names))
    known = {name: name for name in ledger.assets.existing_generations(wanted)}
    others = [name for name in wanted if name not in known]
    keyed = ledger.generations.with_keys(others) if others else {}
    known |= {name: _one_of(ledger, name, found) for name, found in keyed.items()}
    return list(
        dict.fromkeys(
            known.get(name) or _in_batch(ledger, name) or _by_part(ledger, name, has_batch_option) for name in wanted
        )
    )


def is_key(ledger: Ledger, name: str) -> bool:
    """Return whether it is a generation's key, or `BATCH/KEY`. Raises RequestInvalid if it is ambiguous."""
    return bool(ledger.generations.with_keys([name])) or _in_batch(ledger, name) is not None


def batch_name(name: str, *, is_test: bool) -> str:
    """Return a batch's name as it is stored; a test batch's is marked.

    Raises RequestInvalid if the name of another batch would look marked.
    """
    if not is_test and name.endswith(TEST_BATCH):
        raise RequestInvalid(f"the name {name!r} is reserved for test batches: give the batch another one")
    return f"{name}{TEST_BATCH}" if is_test and not name.endswith(TEST_BATCH) else name


def find_batch(ledger: Ledger, name: str) -> str:
    """Return the id of a batch by its name, id, short id, or the beginning of its id.

    Raises NotFound; RequestInvalid if the name is ambiguous.
    """
    found = batches_called(ledger, name)
    if len(found) > 1:
        listed = (f"{one.id}  {_what(ledger, one)}" for one in found)
        raise RequestInvalid(_ambiguous(f"several batches match {shown(name)!r}", "its id", listed))
    return found[0].id


def newest_batch(ledger: Ledger, name: str) -> Batch:
    """As `find_batch`, but return the newest of several with that name."""
    found = batches_called(ledger, name)
    if found[0].name != name:
        find_batch(ledger, name)  # refuses an ambiguous part of an id
    return found[0]


def batches_called(ledger: Ledger, name: str) -> list[Batch]:
    """Return all batches that may be meant, newest first; raises NotFound if there is none."""
    found = ledger.generations.batches_called(name, _LISTED + 1)
    if not found:
        raise NotFound(f"there is no batch {shown(name)!r}; `darkroom batch list` shows all")
    return found


def _in_batch(ledger: Ledger, name: str) -> str | None:
    """Return the id for `BATCH/KEY`; both parts may contain slashes."""
    parts = name.split("/")
    for length in range(1, len(parts)):
        batch, key = "/".join(parts[:length]), "/".join(parts[length:])
        if found := ledger.generations.with_keys([key]).get(key):
            ids = {one.id for one in ledger.generations.batches_called(batch, _LISTED + 1)}
            if mine := [one for one in found if one.batch_id in ids]:
                return _one_of(ledger, name, mine)
    return None


def _one_of(ledger: Ledger, name: str, found: Sequence[Keyed]) -> str:
    """Return the only one; among versions of a row the newest, and paid generations before tests."""
    newest: dict[str, Keyed] = {}
    for one in sorted(found, key=lambda one: one.row_version or 0):
        newest[one.id if one.row_version is None else str(one.batch_id)] = one
    if len(newest) == 1:
        return next(iter(newest.values())).id
    candidates = ledger.generations.get(sorted((one.id for one in newest.values()), reverse=True)[: _LISTED + 1])
    paid = [one.id for one in candidates if not one.is_test]
    if len(paid) == 1 and len(newest) <= _LISTED:
        return paid[0]
    batches = ledger.assets.batch_names({one.batch_id for one in candidates if one.batch_id})
    now = ledger.database.clock()
    lines = (f"{_line(one, now)}  in {batches.get(one.batch_id or '', 'no batch')}" for one in candidates)
    raise RequestInvalid(_ambiguous(f"several generations have the key {shown(name)!r}", "BATCH/KEY, or its id", lines))


def _by_part(ledger: Ledger, name: str, has_batch_option: bool) -> str:
    found = ledger.generations.with_part(name, _LISTED + 1)
    if len(found) > 1:
        now = ledger.database.clock()
        raise RequestInvalid(
            _ambiguous(
                f"several generations match {shown(name)!r}", "more of its id", (_line(one, now) for one in found)
            )
        )
    if found:
        return found[0].id
    if ledger.generations.batches_called(name, 1):
        advice = f"use --batch {name}" if has_batch_option else f"`darkroom list --batch {name}` shows its generations"
        raise NotFound(f"there is no generation {shown(name)!r}, but a batch: {advice}")
    raise NotFound(
        f"there is no generation {shown(name)!r}: give its key, BATCH/KEY, its id, a part of its id, or the short id "
        "that `darkroom list` shows"
    )


def _line(one: Generation, now: datetime) -> str:
    title = " ".join((one.key or links_hidden(one.prompt)).split())
    title = title if len(title) <= _PROMPT else f"{title[: _PROMPT - 1]}…"
    action = f"{one.action} " if one.action else ""
    return f"{one.id}  {one.state}  {action}{title}  {duration(now - one.created_at)} ago"


def _what(ledger: Ledger, batch: Batch) -> str:
    number = sum(ledger.generations.counts(batch.id).values())
    age = duration(ledger.database.clock() - batch.created_at)
    return f"{batch.name}  {number:,} {'generation' if number == 1 else 'generations'}  {age} ago"


def _ambiguous(what: str, advice: str, lines: Iterable[str]) -> str:
    listed = list(lines)
    more = ["  …"] if len(listed) > _LISTED else []
    return "\n".join([f"{what}; give {advice}:", *(f"  {line}" for line in listed[:_LISTED]), *more])
