"""Generations for programs that poll: everything that a decision needs, in a few small queries."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import select

from worker.generation import FINAL, Asset, Generation, Lineage, State, Transition
from worker.ledger.database import Part
from worker.ledger.generations.queries import assets_of, transitions_of
from worker.ledger.labels import labels_of
from worker.ledger.lineage import lineages_of_known
from worker.ledger.rows import GENERATION, GenerationRow, names_of_batches, to_generation
from worker.ledger.schema import LATE, SPENT, charges, generations
from worker.ledger.statements import IDS, Query, columns_of


class FollowedBy(NamedTuple):
    """A follow-up of a generation."""

    parent_id: str
    id: str
    action: str | None
    state: str


class _Paid(NamedTuple):
    generation_id: str
    price: int


class _Id(NamedTuple):
    id: str


class _Dedupe(NamedTuple):
    dedupe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """`cost`: what was paid for it, in millionths, without its follow-ups."""

    generation: Generation
    lineage: Lineage
    labels: Mapping[str, str]
    children: Sequence[FollowedBy]
    assets: Sequence[Asset]
    transitions: Sequence[Transition]
    cost: int


_g, _c = generations.c, charges.c
_THESE = Query(GenerationRow, select(*GENERATION).where(_g.id.in_(IDS)))
_CHILDREN = Query(FollowedBy, select(*columns_of(generations, FollowedBy)).where(_g.parent_id.in_(IDS)).order_by(_g.id))
_PAID = Query(_Paid, select(_c.generation_id, _c.price).where(_c.generation_id.in_(IDS), _c.state.in_([SPENT, LATE])))
_ENDED = Query(_Id, select(_g.id).where(_g.id.in_(IDS), _g.state.in_(sorted(FINAL))))
_KNOWN = Query(_Dedupe, select(_g.dedupe).where(_g.dedupe.in_(IDS)))


class Snapshots(Part):
    def snapshots(self, generation_ids: Sequence[str]) -> list[Snapshot]:
        """Return snapshots of the generations that exist, in this order."""
        with self._database.read() as connection:
            found = {row.id: to_generation(row) for row in _THESE.each(connection, generation_ids)}
            ids = [one for one in generation_ids if one in found]
            if not ids:
                return []
            # Generations that were never submitted have no children, assets or costs.
            sent = [one for one in ids if found[one].tries or found[one].state is not State.QUEUED]
            names = names_of_batches(connection, (one.batch_id for one in found.values()))
            lineages = lineages_of_known(connection, [*found.values()], names)
            labels = labels_of(connection, ids)
            histories = transitions_of(connection, ids)
            assets = assets_of(connection, sent)
            born: defaultdict[str, list[FollowedBy]] = defaultdict(list)
            for child in _CHILDREN.each(connection, sent):
                born[child.parent_id].append(child)
            paid: Counter[str] = Counter()
            for charge in _PAID.each(connection, sent):
                paid[charge.generation_id] += charge.price
        return [
            Snapshot(
                generation=found[one],
                lineage=lineages[one],
                labels=labels.get(one, {}),
                children=born[one],
                assets=assets.get(one, ()),
                transitions=histories[one],
                cost=paid[one],
            )
            for one in ids
        ]

    def ended(self, generation_ids: Sequence[str]) -> set[str]:
        """Return the generations that are in a final state."""
        with self._database.read() as connection:
            return {row.id for row in _ENDED.each(connection, generation_ids)}

    def known(self, dedupes: Sequence[str]) -> set[str]:
        """Return which of these `dedupe` values belong to a generation."""
        with self._database.read() as connection:
            return {row.dedupe for row in _KNOWN.each(connection, dedupes)}
