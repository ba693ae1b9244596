"""Which files a download writes, with unique names, determined before anything is written."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tasks.usecases.batches.download.names import NameTemplate, folded
from worker.errors import RequestInvalid
from worker.generation import Asset, AssetState
from worker.ledger import Ledger

#: collisions that an error lists
_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """`name`: the path below the folder."""

    name: str
    asset: Asset
    who: str


class Plan:
    """The stored results of a batch under the names of a template; read from the ledger each time, in pages."""

    def __init__(self, ledger: Ledger, batch_id: str, template: NameTemplate) -> None:
        self._ledger, self._batch_id, self._template = ledger, batch_id, template

    def files(self) -> Iterator[Wanted]:
        return self._files(self._template)

    def check(self) -> int:
        """Return the number of files. Raises RequestInvalid if two would have the same name."""
        hashes = self._hashes(self._template)
        twice = _twice(hashes)
        if not twice:
            return len(hashes)
        found: dict[str, Wanted] = {}
        collisions = []
        for wanted in self.files():
            name = folded(wanted.name)
            if hash(name) not in twice:
                continue
            if name in found:
                collisions.append(f"{found[name].who} and {wanted.who} would both be named {wanted.name}")
            else:
                found[name] = wanted
        if not collisions:
            return len(hashes)
        more = [f"and {len(collisions) - _LISTED:,} more"] if len(collisions) > _LISTED else []
        advice = f"nothing was written; a template that works is --name '{self._that_works()}'"
        raise RequestInvalid("\n".join([*collisions[:_LISTED], *more, advice]))

    def _that_works(self) -> str:
        stem = self._template.text.removesuffix(".{ext}")
        with_index = stem if "{index}" in stem else f"{stem}_{{index}}"
        candidate = f"{with_index}.{{ext}}"
        if with_index != stem and not _twice(self._hashes(self._template.like(candidate))):
            return candidate
        # An id belongs to one generation, and an index to one of its results.
        return f"{with_index}_{{id}}.{{ext}}"

    def _hashes(self, template: NameTemplate) -> "array[int]":
        """Return the hashes of all names, 8 bytes each, however long the names are."""
        return array("q", (hash(folded(wanted.name)) for wanted in self._files(template)))

    def _files(self, template: NameTemplate) -> Iterator[Wanted]:
        for one in self._ledger.generations.results(self._batch_id):
            for asset in one.assets:
                if asset.state is AssetState.STORED and asset.object_key and asset.sha256:
                    who = f"{one.generation.key or one.generation.id} result {asset.index}"
                    yield Wanted(name=template.name(one, asset), asset=asset, who=who)


def _twice(hashes: "array[int]") -> set[int]:
    ordered = sorted(hashes)
    return {one for one, following in pairwise(ordered) if one == following}
