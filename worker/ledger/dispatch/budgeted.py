"""Money at dispatch: what goes gets its price and reserves it, what no budget has room for is held until one has.

What is held leaves the line, so that it hinders nobody behind it and is not looked at again each second. All that have
the same kind of budget, prices and price come back, or not, together (of those held by their batch, each batch).
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import cache, partial
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, literal_column, select, text, tuple_, update

from worker.ledger.budget import Purse, book, is_counted, tier_of_row
from worker.ledger.changes import Changes
from worker.ledger.dispatch.line import Line, Rooms, Waiting
from worker.ledger.flows import flow_of, line_up
from worker.ledger.schema import ANY_ACCOUNT, FLOW, HELD, BudgetKey, BudgetKind, CleanText, generations
from worker.ledger.statements import IDS, LIMIT, NOW, Query, columns_of
from worker.pricing import Prices, Quote

#: at most so many come back to the line at once
_MOST_BACK = 1000

_g = generations.c
_PROVIDER = bindparam("provider", type_=CleanText())
_DISPATCH = (
    update(generations)
    .where(_g.id.in_(IDS))
    .values(dispatched_at=NOW, not_before=None, price=bindparam("at"), account=bindparam("to"))
)
_HOLD = (
    update(generations)
    .where(_g.id.in_(IDS))
    .values(
        held=bindparam("by"), held_prices=bindparam("digest"), price=bindparam("at"), reason="budget",
        message=bindparam("why"),
    )
)  # fmt: skip
_LET_GO = update(generations).where(_g.id.in_(IDS)).values(held=None, held_prices=None, reason=None, message=None)


class _Held(NamedTuple):
    id: str
    provider: str
    priority: int
    batch_id: str | None
    pinned: str


class _Hold(NamedTuple):
    """What is alike in all that come back together, in the order of the index. `held`: a `BudgetKind`."""

    held: str
    held_prices: str
    price: int


_HOLD_KEY = [_g[name] for name in _Hold._fields]
_IS_HELD_BY = (
    _g.provider == _PROVIDER,
    text(HELD),
    _g.held == bindparam("held", type_=CleanText()),
    _g.held_prices == bindparam("held_prices", type_=CleanText()),
    _g.price == bindparam("price"),
)
_LINES_UP = columns_of(generations, _Held)
_HELD_BY = Query(
    _Held,
    select(*_LINES_UP)
    .where(
        *_IS_HELD_BY,
        _g.pinned == bindparam("to", type_=CleanText()),
        text(f"{FLOW} = :flow").bindparams(bindparam("flow", type_=CleanText())),
    )
    .order_by(_g.priority.desc(), _g.turn, _g.id)
    .limit(LIMIT)
    .with_for_update(skip_locked=True),
)
_ALL_HELD = Query(
    _Held,
    select(*_LINES_UP).where(_g.provider == _PROVIDER, text(HELD)).limit(LIMIT).with_for_update(skip_locked=True),
)
# One row of each hold, by a jump through the index to the next one: there may be very many generations and few holds.
_FIRST = select(_g.id).where(_g.provider == _PROVIDER, text(HELD)).order_by(*_HOLD_KEY).limit(1)
_FOUND = select(_FIRST.scalar_subquery().label("id")).cte("found", recursive=True)
_last = generations.alias("last")
# In words with which SQLite jumps, too: expressions, since of columns it would compare the first alone; and not `>`,
# for which it would read all that are equal.
_AFTER = tuple_(_last.c.held + "", _last.c.held_prices + "", _last.c.price + 1)
_NEXT = _FIRST.where(tuple_(*_HOLD_KEY) >= _AFTER).correlate(_last)
_ONE_OF_EACH = _FOUND.union_all(
    select(_NEXT.scalar_subquery()).select_from(_FOUND.join(_last, _last.c.id == _FOUND.c.id))
)
_HOLDS = Query(_Hold, select(*_HOLD_KEY).join(_ONE_OF_EACH, _ONE_OF_EACH.c.id == _g.id))
# In the same way, each flow of one hold.
_FLOW = literal_column(FLOW, CleanText())
_FIRST_FLOW = select(func.min(_FLOW).label("flow")).where(*_IS_HELD_BY).cte("flows_held", recursive=True)
_NEXT_FLOW = select(func.min(_FLOW)).where(*_IS_HELD_BY, _FIRST_FLOW.c.flow < _FLOW).scalar_subquery()
_FOUND_FLOWS = _FIRST_FLOW.union_all(select(_NEXT_FLOW).where(_FIRST_FLOW.c.flow.is_not(None)))
_FLOWS = select(_FOUND_FLOWS.c.flow).where(_FOUND_FLOWS.c.flow.is_not(None))


def reserve(
    changes: Changes, provider: str, prices: Prices, line: Line, most: int
) -> tuple[list[tuple[Waiting, str]], int]:
    """Let those go for which an account and their budgets have room; hold those whose budgets have none.

    Looks at `most` in line. Returns the rows that went, each with its account, and how many were held. The caller holds
    the provider's accounts.
    """
    connection, now = changes.connection, changes.at
    today = prices.day_of(now)

    # Most that waits is alike, and budgets are locked meanwhile.
    quoted = cache(partial(prices.quote, provider))

    def quote_of(row: Waiting) -> Quote:
        return quoted(row.operation, tier_of_row(row))

    purse = Purse(connection, provider, prices, today)
    purse.open({row.batch_id for row in line.ready() if is_counted(row, quote_of(row).amount)})
    chosen: list[tuple[Waiting, Quote, str]] = []
    held: defaultdict[tuple[BudgetKey, int], list[str]] = defaultdict(list)
    for _ in range(most):
        if (found := line.next()) is None:
            break
        row, account = found
        quote = quote_of(row)
        cost = quote.amount
        if is_counted(row, cost) and not purse.is_open(row.batch_id):
            # Budgets are locked once, all together; the next look begins with this one.
            line.cut()
        elif (full := purse.full(row.batch_id, cost)) is None:
            purse.take(row.batch_id, cost)
            line.take(row, account)
            chosen.append((row, quote, account))
        else:
            line.leave(row)
            held[full, cost].append(row.id)
    _let_go(connection, chosen, now)
    book(connection, provider, today, [(row, quote) for row, quote, _ in chosen if is_counted(row, quote.amount)])
    for (key, cost), ids in held.items():
        marks = {"by": key.kind, "digest": prices.digest, "at": cost, "why": purse.why(key, cost)}
        connection.execute(_HOLD, {"ids": ids, **marks})
    for key in sorted({key for key, _ in held}):
        purse.tell(changes, key)
    return [(row, account) for row, _, account in chosen], sum(map(len, held.values()))


def let_some_go(connection: Connection, provider: str) -> bool:
    """Put what was held back into the line, as there are no prices any more; False if some are left."""
    back = _ALL_HELD.all(connection, provider=provider, limit=_MOST_BACK)
    connection.execute(_LET_GO, {"ids": [row.id for row in back]})
    line_up(connection, {flow_of(row) for row in back})
    return _HOLDS.first(connection, provider=provider) is None


def take_back(connection: Connection, provider: str, prices: Prices, rooms: Rooms, now: datetime) -> None:
    """Put back into the line what its budget has room for now, or whose price may have changed.

    As much of each flow, because it is the line that says whose turn it is: what does not fit then is held again.
    """
    today = prices.day_of(now)
    holds = _HOLDS.all(connection, provider=provider)
    if not holds:
        return
    batches = {hold: _flows_of(connection, provider, hold) for hold in holds if hold.held == BudgetKind.BATCH}
    purse = Purse(connection, provider, prices, today)
    # Only a hint, so nothing is locked: what comes back is looked at again, like all in the line.
    purse.open({None}.union(*batches.values()), locked=False)
    back: list[_Held] = []
    for hold in holds:
        for batch_id in batches.get(hold, (None,)):
            left = purse.room(batch_id)
            fitting = _MOST_BACK if left is None or hold.held_prices != prices.digest else left // hold.price
            if fitting > 0:
                flows = _flows_of(connection, provider, hold) if batch_id is None else (batch_id,)
                back += _some_of_each(connection, provider, hold, flows, rooms, fitting=fitting)
    if back:
        connection.execute(_LET_GO, {"ids": [row.id for row in back]})
        line_up(connection, {flow_of(row) for row in back})


def _flows_of(connection: Connection, provider: str, hold: _Hold) -> Sequence[str]:
    """By chance, so that none is left out each time."""
    names = list(connection.execute(_FLOWS, {"provider": provider, **hold._asdict()}).scalars())
    random.shuffle(names)
    return names


def _some_of_each(
    connection: Connection, provider: str, hold: _Hold, flows: Sequence[str], rooms: Rooms, *, fitting: int
) -> list[_Held]:
    """Locked rows of this hold: of each flow so many `fitting` ones as may go, but not very many at once.

    What is pinned to an account without room stays: the others of its flow would wait behind it.
    """
    mine = {"provider": provider, **hold._asdict()}
    found: list[_Held] = []
    for name in flows:
        if len(found) >= _MOST_BACK:
            break
        for pinned, room in {ANY_ACCOUNT: rooms.total, **rooms.free}.items():
            found += _HELD_BY.all(connection, **mine, flow=name, to=pinned, limit=min(fitting, room))
    return found


def _let_go(connection: Connection, chosen: Sequence[tuple[Waiting, Quote, str]], now: datetime) -> None:
    alike: defaultdict[tuple[int | None, str], list[str]] = defaultdict(list)
    for row, quote, account in chosen:
        alike[quote.amount if is_counted(row, quote.amount) else None, account].append(row.id)
    for (price, account), ids in alike.items():
        connection.execute(_DISPATCH, {"ids": ids, "now": now, "at": price, "to": account})
