"""The generations that a request selects."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import MappingProxyType

from tasks.usecases.names import find_batch, find_generations
from tasks.usecases.providers import require_provider
from worker.errors import RequestInvalid
from worker.generation import Generation, State
from worker.ledger import Ledger

#: generations read at once
PAGE = 1000
#: what makes a key a pattern
_PATTERN = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Either generations by name, or all that match a batch, states, a provider, a key pattern and all `labels`.

    `key` is a pattern such as `B-*`; a follow-up also matches by the key of its first ancestor. `everything`: the whole
    ledger. `ids`: what a filter has already found, which nobody named individually. Raises RequestInvalid for an empty
    selection, or for names together with anything else.
    """

    names: tuple[str, ...] = ()
    batch: str | None = None
    states: tuple[State, ...] = ()
    provider: str | None = None
    key: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    everything: bool = False
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.names) == self.is_by_filter:
            raise RequestInvalid("give either GENERATIONs, or any of --batch, --state, --provider, --key and --label")

    @property
    def is_by_filter(self) -> bool:
        several = (self.states, self.labels, self.ids)
        return self.everything or any(several) or any(one is not None for one in (self.batch, self.provider, self.key))


@dataclass(frozen=True, slots=True)
class Selected:
    """`left`: how many others of the selection are left alone, by state."""

    ids: list[str]
    left: Mapping[State, int]


def select(ledger: Ledger, selection: Selection, states: Sequence[State], *, others: bool = False) -> Selected:
    """Return the named generations or, of all that match, those in these states.

    `others`: what a whole batch has in other states is counted as left. Raises NotFound and RequestInvalid as
    `find_generations` and `find_batch` do, and ConfigurationError for an unknown provider.
    """
    if selection.names:
        return Selected(find_generations(ledger, selection.names, has_batch_option=True), {})
    if selection.ids:
        return Selected(list(selection.ids), {})
    batch_id = None if selection.batch is None else find_batch(ledger, selection.batch)
    if selection.provider is not None:
        require_provider(selection.provider)
    wanted = selection.states or (tuple(State) if batch_id is not None and others else states)
    key, labels = selection.key, selection.labels
    counts = ledger.generations.counts(batch_id, labels)
    found: list[str] = []
    left: Counter[State] = Counter()
    for state in wanted:
        if state in states:
            pages = pages_like(ledger, key, state=state, batch=batch_id, labels=labels)
            found += [one.id for page in pages for one in matching(ledger, page, selection)]
        elif selection.provider is None and selection.key is None:
            left[state] += counts.get(state, 0)
        elif counts.get(state):
            pages = pages_like(ledger, key, state=state, batch=batch_id, labels=labels)
            left[state] += sum(len(matching(ledger, page, selection)) for page in pages)
    return Selected(found, +left)


def matching(ledger: Ledger, page: Sequence[Generation], selection: Selection) -> list[Generation]:
    """Return those at the selection's provider with a matching key."""
    found = [one for one in page if selection.provider in {None, one.provider}]
    if selection.key is None:
        return found
    lineages = ledger.generations.lineages([one.id for one in found])
    return [one for one in found if _is_like(selection.key, (one.key, lineages[one.id].root_key))]


def pages_like(
    ledger: Ledger, key: str | None, *, state: State | None, batch: str | None, labels: Mapping[str, str],
    size: int | None = None,
) -> Iterator[list[Generation]]:  # fmt: skip
    """Yield pages with every generation that may match the key; few, unless the key is a pattern."""
    if key is None or is_pattern(key):
        yield from pages_of(ledger, state=state, batch=batch, labels=labels, size=size)
        return
    batches = None if batch is None else set(ledger.generations.batch_ids(batch))
    found: dict[str, Generation] = {}
    for keyed in ledger.generations.with_keys([key]).get(key, ()):
        if batches is None or keyed.batch_id in batches:
            found |= {one.id: one for one in ledger.generations.family(keyed.id) if state in {None, one.state}}
    if found:
        yield ledger.generations.with_labels(list(found.values()), labels)


def is_pattern(key: str) -> bool:
    return _PATTERN.search(key) is not None


def _is_like(pattern: str, keys: Collection[str | None]) -> bool:
    return any(key is not None and fnmatchcase(key, pattern) for key in keys)


def pages_of(
    ledger: Ledger,
    *,
    state: State | None = None,
    batch: str | None = None,
    labels: Mapping[str, str] = MappingProxyType({}),
    limit: int | None = None,
    size: int | None = None,
) -> Iterator[list[Generation]]:
    """Yield generations, newest first, up to `size` (else `PAGE`) at a time; `limit`: of all pages together."""
    size, before, number = size or PAGE, None, 0
    while (room := size if limit is None else min(size, limit - number)) > 0:
        page = ledger.generations.page(state=state, batch=batch, labels=labels, limit=room, before=before)
        if not page:
            return
        yield page
        before, number = page[-1].id, number + len(page)
