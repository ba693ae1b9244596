"""Recounts label budgets: a version before 0028 that is still finishing its work settles charges without them."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple, SupportsInt

from sqlalchemy import Select, bindparam, func, select

from worker.ledger.charges import make_budgets, read_budgets
from worker.ledger.database import Part
from worker.ledger.schema import COUNTED, CleanText, LabelKey, charges, label_budgets, labels
from worker.ledger.statements import Query, columns_of, update_row


class _Sum(NamedTuple):
    name: str
    value: str
    state: str
    #: PostgreSQL's sums are decimals
    amount: SupportsInt


class _Row(NamedTuple):
    name: str
    value: str
    reserved: int
    possible: int
    spent: int
    late: int


_l, _c = labels.c, charges.c
_SUMS: Select[*tuple[object, ...]] = (
    select(_l.name, _l.value, _c.state, func.sum(_c.price).label("amount"))
    .join_from(labels, charges, _c.generation_id == _l.generation_id)
    .where(_c.state.in_(COUNTED))
    .group_by(_l.name, _l.value, _c.state)
)
_ALL_SUMS = Query(_Sum, _SUMS)
_SUMS_OF = Query(
    _Sum,
    _SUMS.where(_l.name == bindparam("name", type_=CleanText()), _l.value == bindparam("value", type_=CleanText())),
)
_KNOWN = Query(_Row, select(*columns_of(label_budgets, _Row)))


class Recount(Part):
    def recount_labels(self) -> int:
        """Set label budgets to the sum of their charges; return how many differed. Reads all charges with labels."""
        with self._database.read() as connection:
            sums = _by_label(_ALL_SUMS.all(connection))
            rows = {LabelKey(row.name, row.value): row for row in _KNOWN.all(connection)}
        differing = [
            key
            for key in sorted(rows.keys() | sums.keys())
            if key not in rows or any(getattr(rows[key], state) != sums[key][state] for state in COUNTED)
        ]
        for key in differing:
            with self._database.write() as connection:
                make_budgets(connection, [key])
                # A transaction that changes charges with this label also changes this row before others see either.
                read_budgets(connection, [key], locked=True)
                now = _by_label(_SUMS_OF.all(connection, **key._asdict()))[key]
                update_row(connection, label_budgets, key._asdict(), **{state: now[state] for state in COUNTED})
        return len(differing)


def _by_label(sums: Sequence[_Sum]) -> defaultdict[LabelKey, Counter[str]]:
    found: defaultdict[LabelKey, Counter[str]] = defaultdict(Counter)
    for row in sums:
        found[LabelKey(row.name, row.value)][row.state] += int(row.amount)
    return found
