"""What a person calls generations and batches, and which they are."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from tasks.durations import duration
from worker.errors import NotFound, RequestInvalid
from worker.generation import Generation
from worker.ledger import Ledger
from worker.ledger.generations import Batch, short_id
from worker.secrets import links_hidden

__all__ = ["Batch", "batches_called", "find_batch", "find_generation", "find_generations", "newest_batch", "short_id"]

#: candidates that an error lists
_LISTED = 8
#: characters of a key or prompt in such a list
_PROMPT = 40


def find_generation(ledger: Ledger, name: str) -> str:
    """The id of the one that is called so: by its id, its key, its short id, or the beginning of its id.

    Raises NotFound; RequestInvalid where several may be meant.
    """
    return find_generations(ledger, [name])[0]


def find_generations(ledger: Ledger, names: Sequence[str], *, has_batch_option: bool = False) -> list[str]:
    """The id of each, in this order, each once. Raises as `find_generation` does.

    `has_batch_option`: the command that asks takes --batch, which is then what it advises for the name of a batch.
    """
    wanted = list(dict.fromkeys(names))
    known = {name: name for name in ledger.assets.existing_generations(wanted)}
    known |= ledger.generations.ids_of_keys([name for name in wanted if name not in known])
    return list(dict.fromkeys(known.get(name) or _by_part(ledger, name, has_batch_option) for name in wanted))


def find_batch(ledger: Ledger, name: str) -> str:
    """The id of the batch that is called so: by its name, its id, its short id, or the beginning of its id.

    Raises NotFound; RequestInvalid where several may be meant.
    """
    found = batches_called(ledger, name)
    if len(found) > 1:
        listed = (f"{one.id}  {_what(ledger, one)}" for one in found)
        raise RequestInvalid(_ambiguous(f"several batches match {name!r}", "its id", listed))
    return found[0].id


def newest_batch(ledger: Ledger, name: str) -> Batch:
    """As `find_batch`, but of several with that name the newest."""
    found = batches_called(ledger, name)
    if found[0].name != name:
        find_batch(ledger, name)  # which refuses a part of an id that several have
    return found[0]


def batches_called(ledger: Ledger, name: str) -> list[Batch]:
    """All that may be meant, the newest first; raises NotFound if there is none."""
    found = ledger.generations.batches_called(name, _LISTED + 1)
    if not found:
        raise NotFound(f"there is no batch {name!r}; `darkroom list` shows the batches of the newest generations")
    return found


def _by_part(ledger: Ledger, name: str, has_batch_option: bool) -> str:
    found = ledger.generations.with_part(name, _LISTED + 1)
    if len(found) > 1:
        now = ledger.database.clock()
        raise RequestInvalid(
            _ambiguous(f"several generations match {name!r}", "more of its id", (_line(one, now) for one in found))
        )
    if found:
        return found[0].id
    if ledger.generations.batches_called(name, 1):
        advice = f"use --batch {name}" if has_batch_option else f"`darkroom list --batch {name}` shows its generations"
        raise NotFound(f"there is no generation {name!r}, but a batch: {advice}")
    raise NotFound(
        f"there is no generation {name!r}: give its key, its id, the beginning of its id, or the short id "
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
