"""Charges: for what is dispatched, and for what a restored ledger has sent and forgotten, which was paid for."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from worker.ledger.budget.tiers import TIER, tier_of_row
from worker.ledger.changes import Changes
from worker.ledger.charges import add
from worker.ledger.schema import COUNTED, RELEASED, RESERVED, CleanText, attempts, budgets, charges, generations, scopes
from worker.ledger.statements import IDS, insert_ignoring, insert_into, select_in
from worker.pricing import Prices, Quote

_a, _g = attempts.c, generations.c
_SENT = (
    select(_g.id, _g.provider, _g.batch_id, _a.number, _a.sent_at, *TIER)
    .join(attempts, (_a.generation_id == _g.id) & (_a.number == _g.tries))
    .where(_g.id.in_(IDS))
)
_PRICED = update(generations).where(_g.id == bindparam("of", type_=CleanText())).values(price=bindparam("at"))


def book_sent(changes: Changes, prices: Prices, generation_ids: Collection[str]) -> None:
    """Book the last attempts of these on the day on which they were sent, whether or not a cap has room.

    What is reserved for one of them already stays as it is. `Changes.flush` settles them with the others.
    """
    changes.write()
    rows = [
        {
            "generation_id": row.id,
            "number": row.number,
            "provider": row.provider,
            "operation": row.operation,
            "batch_id": row.batch_id,
            "day": prices.day_of(row.sent_at),
            "price": quote.amount,
            "assumed": quote.assumed or None,
            # Counted nowhere yet: settling brings it to what its attempt says, and its budgets with it.
            "state": RELEASED,
        }
        for row in select_in(changes.connection, _SENT, sorted(generation_ids))
        if (quote := prices.quote(row.provider, row.operation, tier_of_row(row))).amount
    ]
    if not rows:
        return
    keys = {scope for row in rows for scope in scopes(row["day"], row["provider"], row["batch_id"])}
    empty = [{"scope": key, **dict.fromkeys(COUNTED, 0)} for key in sorted(keys)]
    insert = insert_into(changes.connection, charges)
    # One that was dispatched before the backup, but never claimed, was given back, and went later.
    again = {name: insert.excluded[name] for name in ("day", "price", "assumed")}
    instead = insert.on_conflict_do_update(
        index_elements=["generation_id", "number"], set_=again, where=charges.c.state == RELEASED
    )
    changes.connection.execute(instead, rows)
    changes.connection.execute(insert_ignoring(changes.connection, budgets), empty)
    changes.connection.execute(_PRICED, [{"of": row["generation_id"], "at": row["price"]} for row in rows])
    changes.has_price(row["generation_id"] for row in rows)


def is_counted(row: Any, cost: int) -> bool:
    """Also what costs nothing now but did before: a charge of an earlier attempt may still have to be settled."""
    return cost > 0 or row.price is not None


def book(connection: Connection, provider: str, today: str, priced: Sequence[tuple[Any, Quote]]) -> None:
    if not priced:
        return
    rows = [
        {
            "generation_id": row.id,
            "number": row.tries + 1,
            "provider": provider,
            "operation": row.operation,
            "batch_id": row.batch_id,
            "day": today,
            "price": quote.amount,
            "assumed": quote.assumed or None,
            "state": RESERVED,
        }
        for row, quote in priced
    ]
    insert = insert_into(connection, charges)
    # One that was dispatched before, but never claimed, was given back and is reserved anew.
    again = {name: insert.excluded[name] for name in ("day", "price", "assumed", "state")}
    connection.execute(insert.on_conflict_do_update(index_elements=["generation_id", "number"], set_=again), rows)
    deltas: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row, quote in priced:
        for scope in scopes(today, provider, row.batch_id):
            deltas[scope][RESERVED] += quote.amount
    add(connection, deltas)
