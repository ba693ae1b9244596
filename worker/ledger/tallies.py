"""Tallies for `/metrics`, which outlast what they count. Each is added in the transaction that it counts."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, literal_column

from worker.ledger.schema import Tally, tallies, tally_deltas
from worker.ledger.statements import insert_into, insert_rows

#: the upper bounds of histograms: seconds to acknowledge a callback, and the share of its link's lifetime that remained
#: when an asset was stored. Values above the last bound are counted under `BEYOND`
ACKNOWLEDGED_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LINK_LIFE_BOUNDS = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
BEYOND = "+Inf"


class TallyKey(NamedTuple):
    kind: Tally
    #: empty if there is none
    provider: str
    value: str


def tally(connection: Connection, numbers: Mapping[TallyKey, int]) -> None:
    """Add these numbers; on PostgreSQL as separate rows, so that two transactions never wait for the same count."""
    # In order, so that two transactions that add to the same counts never deadlock.
    rows = [{**key._asdict(), "number": number} for key, number in sorted(numbers.items()) if number]
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        insert_rows(connection, tally_deltas, rows)
    else:
        add_up(connection, rows)


def add_up(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    adding = insert_into(connection, tallies)
    total = {"number": tallies.c.number + literal_column("excluded.number")}
    keys = [tallies.c[name] for name in TallyKey._fields]
    connection.execute(adding.on_conflict_do_update(index_elements=keys, set_=total), list(rows))


def bound_of(bounds: Sequence[float], value: float) -> str:
    """Return the name under which the value is counted: the first bound not below it."""
    place = bisect_left(bounds, value)
    return BEYOND if place == len(bounds) else f"{bounds[place]:g}"
