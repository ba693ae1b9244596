"""Folds and reads tallies, and records reports of receivers."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple, SupportsInt

from sqlalchemy import delete, func, literal, select, union_all

from worker.ledger.database import Part
from worker.ledger.maintenance.heartbeats import Heartbeats
from worker.ledger.schema import Tally, tallies, tally_deltas
from worker.ledger.statements import LIMIT, Query
from worker.ledger.tallies import TallyKey, add_up, tally

#: the most deltas that one transaction folds, and the most transactions in one pass
BITE, _MOST_BITES = 1000, 20


class _Row(NamedTuple):
    kind: str
    provider: str
    value: str
    number: int


class _Total(NamedTuple):
    kind: str
    provider: str
    value: str
    #: PostgreSQL's sums are decimals
    total: SupportsInt


_n, _d = tallies.c, tally_deltas.c
# One statement: a delta folded between two reads would be counted twice, or not at all.
_both = union_all(
    *(select(*(table.c[name] for name in _Row._fields)) for table in (tallies, tally_deltas)),
).subquery()
_keys = [_both.c[name] for name in TallyKey._fields]
_TOTALS = Query(_Total, select(*_keys, func.sum(_both.c.number).label("total")).group_by(*_keys))
_ANY = select(literal(1)).select_from(tally_deltas).limit(1)
# Not in chronological order: sums do not depend on it.
_SOME = select(_d.id).order_by(_d.id).limit(LIMIT).with_for_update(skip_locked=True)
_TAKE = Query(_Row, delete(tally_deltas).where(_d.id.in_(_SOME)).returning(_d.kind, _d.provider, _d.value, _d.number))


class Tallies(Part):
    def tallies(self) -> dict[TallyKey, int]:
        """Return all tallies: a few hundred, however large the ledger is. Omits kinds added by a newer version."""
        known = set(Tally)
        with self._database.read() as connection:
            return {
                TallyKey(Tally(row.kind), row.provider, row.value): int(row.total)
                for row in _TOTALS.all(connection)
                if row.kind in known
            }

    def fold_tallies(self) -> int:
        """Fold new deltas into the tallies; return how many rows. Safe to run concurrently."""
        with self._database.read() as connection:
            if connection.execute(_ANY).first() is None:
                return 0
        folded = 0
        for _ in range(_MOST_BITES):
            with self._database.write(under_way=True) as connection:
                rows = _TAKE.all(connection, limit=BITE)
                sums: Counter[tuple[str, str, str]] = Counter()
                for kind, provider, value, number in rows:
                    sums[kind, provider, value] += number
                # In order, so that two folds never deadlock.
                changed = [
                    {"kind": kind, "provider": provider, "value": value, "number": sums[kind, provider, value]}
                    for kind, provider, value in sorted(sums)
                ]
                if changed:
                    add_up(connection, changed)
            folded += len(rows)
            if len(rows) < BITE:
                break
        return folded


class Receivers(Heartbeats):
    def report(self, receiver: str, pid: int, numbers: Mapping[TallyKey, int]) -> None:
        """Record that this receiver is alive, as `beat` does for workers, and add what it has counted since.

        Does both or neither: after a failure other than CommitUnknown, the caller may report the same numbers again.
        """
        with self._database.write(under_way=True) as connection:
            self._beat(connection, receiver, pid, {})
            tally(connection, numbers)
