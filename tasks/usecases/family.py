"""A family: a first generation and all its descendants, as a tree."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.usecases.services import LedgerServices
from worker.generation import Asset, AssetState, Generation

#: generations in a tree: those nearest to the first one, and those that lead to the one shown
_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A generation of the family. `assets`: the stored ones."""

    generation: Generation
    assets: tuple[Asset, ...]
    children: tuple["Member", ...]

    def all(self) -> Iterator["Member"]:
        """Yield it and all its descendants, parents first."""
        yield self
        for child in self.children:
            yield from child.all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family. `left_out`: how many generations are not in the tree."""

    root: Member
    left_out: int


def family(here: LedgerServices, root_id: str, looked_at: str) -> Family:
    """Return the family of a first generation, including `looked_at`. Raises NotFound."""
    here.ledger.generations.get([root_id])
    everyone = {one.id: one for one in here.ledger.generations.family(root_id)}
    nearest = sorted(everyone.values(), key=lambda one: (one.depth, one.id))
    shown = {one.id: one for one in nearest[:_MOST]}
    shown |= {one.id: one for one in _way_to(everyone, looked_at)}
    assets = here.ledger.generations.assets_of([*shown])
    born: defaultdict[str | None, list[Generation]] = defaultdict(list)
    for one in sorted(shown.values(), key=lambda one: one.id):
        born[one.parent_id].append(one)

    def member(one: Generation) -> Member:
        children = tuple(member(child) for child in born[one.id])
        return Member(generation=one, assets=_stored(assets[one.id]), children=children)

    return Family(root=member(everyone[root_id]), left_out=len(everyone) - len(shown))


def _way_to(everyone: Mapping[str, Generation], generation_id: str | None) -> Iterator[Generation]:
    while generation_id is not None and (found := everyone.get(generation_id)) is not None:
        yield found
        generation_id = found.parent_id


def _stored(assets: Sequence[Asset]) -> tuple[Asset, ...]:
    return tuple(one for one in assets if one.state is AssetState.STORED)
