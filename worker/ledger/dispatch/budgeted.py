"""Money at dispatch: dispatched generations reserve their price; those without room in a budget are held back.

Held generations leave the line, so that they block nobody behind them and are not checked every second. Those with the
same kind of budget, price file and price come back together, or not at all (if held by their batch, per batch).
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import cache, partial
from typing import NamedTuple

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    bindparam,
    func,
    literal_column,
    select,
    text,
    tuple_,
    update,
)

from worker.ledger.budget import Purse, book, is_counted, tier_of_row
from worker.ledger.changes import Changes
from worker.ledger.dispatch.line import Line, Rooms, Waiting
from worker.ledger.flows import flow_of, line_up
from worker.ledger.labels import pairs_of
from worker.ledger.schema import (
    FLOW,
    HELD,
    HELD_BY_LABEL,
    AnyBudgetKey,
    BudgetKind,
    CleanText,
    LabelKey,
    Labels,
    generations,
)
from worker.ledger.statements import IDS, LIMIT, NOW, Query, columns_of
from worker.pricing import Prices, Quote

#: the most generations that come back to the line at once
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
        held=bindparam("by"), held_prices=bindparam("digest"), held_label=bindparam("label"), price=bindparam("at"),
        reason="budget", message=bindparam("why"),
    )
)  # fmt: skip
_LET_GO = (
    update(generations)
    .where(_g.id.in_(IDS))
    .values(held=None, held_prices=None, held_label=None, reason=None, message=None)
)


class _Held(NamedTuple):
    id: str
    provider: str
    priority: int
    batch_id: str | None
    pinned: str


class _Hold(NamedTuple):
    """What all generations that come back together have in common. `held`: a `BudgetKind`."""

    held: str
    held_label: str | None
    held_prices: str
    price: int

    @property
    def labels(self) -> Labels:
        name, _, value = (self.held_label or "").partition("=")
        return ((name, value),) if self.held_label else ()


_HOLD_KEY = [_g[name] for name in _Hold._fields]
_LINES_UP = columns_of(generations, _Held)
_ALL_HELD = Query(
    _Held,
    select(*_LINES_UP).where(_g.provider == _PROVIDER, text(HELD)).limit(LIMIT).with_for_update(skip_locked=True),
)
_FLOW = literal_column(FLOW, CleanText())


class _FlowName(NamedTuple):
    flow: str


class _Holds(NamedTuple):
    """Queries for holds: for all of them, or for those of labels, through the index that includes the label."""

    holds: Query[_Hold]
    #: the generations of one hold, in one flow, that may go to an account
    held: Query[_Held]
    #: the flows of one hold
    flows: Query[_FlowName]


def _asking(by: Column[object], condition: str) -> _Holds:
    """Build the queries. `by`: the column that distinguishes holds, before prices and price."""
    is_held = (_g.provider == _PROVIDER, text(condition))
    key = (by, _g.held_prices, _g.price)
    # One row of each hold, by skipping through the index to the next one: there may be many generations but few holds.
    first = select(_g.id).where(*is_held).order_by(*key).limit(1)
    found = select(first.scalar_subquery().label("id")).cte("found", recursive=True)
    last = generations.alias("last")
    # Worded so that SQLite skips, too: expressions, because of plain columns it would compare only the first one; and
    # `>=`, because for `>` it would read all rows that are equal.
    after = tuple_(last.c[by.key] + "", last.c.held_prices + "", last.c.price + 1)
    following = first.where(tuple_(*key) >= after).correlate(last)
    one_of_each = found.union_all(
        select(following.scalar_subquery()).select_from(found.join(last, last.c.id == found.c.id))
    )
    is_hold: list[ColumnElement[bool]] = [column == bindparam(column.key, type_=column.type) for column in key]
    held = (
        select(*_LINES_UP)
        .where(
            *is_held,
            *is_hold,
            _g.pinned == bindparam("to", type_=CleanText()),
            text(f"{FLOW} = :flow").bindparams(bindparam("flow", type_=CleanText())),
        )
        .order_by(_g.priority.desc(), _g.turn, _g.id)
        .limit(LIMIT)
        .with_for_update(skip_locked=True)
    )
    # Each flow of one hold, in the same way.
    first_flow = select(func.min(_FLOW).label("flow")).where(*is_held, *is_hold).cte("flows_held", recursive=True)
    next_flow = select(func.min(_FLOW)).where(*is_held, *is_hold, first_flow.c.flow < _FLOW).scalar_subquery()
    flows = first_flow.union_all(select(next_flow).where(first_flow.c.flow.is_not(None)))
    return _Holds(
        Query(_Hold, select(*_HOLD_KEY).join(one_of_each, one_of_each.c.id == _g.id)),
        Query(_Held, held),
        Query(_FlowName, select(flows.c.flow).where(flows.c.flow.is_not(None))),
    )


_ALL, _OF_LABELS = _asking(_g.held, HELD), _asking(_g.held_label, HELD_BY_LABEL)


def reserve(
    changes: Changes, provider: str, prices: Prices, line: Line, most: int
) -> tuple[list[tuple[Waiting, str]], int]:
    """Dispatch generations for which an account and their budgets have room; hold those whose budgets have none.

    Consider up to `most` in line. Return the dispatched rows, each with its account, and how many were held. The caller
    has locked the provider's accounts.
    """
    connection, now = changes.connection, changes.at
    today = prices.day_of(now)

    # Cached, because most waiting generations are alike and budgets are locked in the meantime.
    quoted = cache(partial(prices.quote, provider))

    def quote_of(row: Waiting) -> Quote:
        return quoted(row.operation, tier_of_row(row))

    purse = Purse(connection, provider, prices, today)
    counted = [row for row in line.ready() if is_counted(row, quote_of(row).amount)]
    labels = pairs_of(connection, [row.id for row in counted if row.a_label is not None])
    purse.open({row.batch_id for row in counted}, set(labels.values()))
    chosen: list[tuple[Waiting, Quote, str]] = []
    held: defaultdict[tuple[AnyBudgetKey, int], list[str]] = defaultdict(list)
    for _ in range(most):
        if (found := line.next()) is None:
            break
        row, account = found
        quote = quote_of(row)
        cost, mine = quote.amount, labels.get(row.id, ())
        is_known = bool(mine) or row.a_label is None
        if is_counted(row, cost) and not (is_known and purse.is_open(row.batch_id, mine)):
            # Budgets are locked once, all together; the next pass begins with this row.
            line.cut()
        elif (full := purse.full(row.batch_id, cost, mine)) is None:
            purse.take(row.batch_id, cost, mine)
            line.take(row, account)
            chosen.append((row, quote, account))
        else:
            line.leave(row)
            held[full, cost].append(row.id)
    _let_go(connection, chosen, now)
    going = [(row, quote) for row, quote, _ in chosen if is_counted(row, quote.amount)]
    book(connection, provider, today, going, labels)
    for (key, cost), ids in held.items():
        label = key.text if isinstance(key, LabelKey) else None
        marks = {"by": key.kind, "label": label, "digest": prices.digest, "at": cost, "why": purse.why(key, cost)}
        connection.execute(_HOLD, {"ids": ids, **marks})
    for key in sorted({key for key, _ in held}, key=tuple):
        purse.tell(changes, key)
    return [(row, account) for row, _, account in chosen], sum(map(len, held.values()))


def let_some_go(connection: Connection, provider: str) -> bool:
    """Put held generations back in line, because there are no prices any more; return False if some are left."""
    back = _ALL_HELD.all(connection, provider=provider, limit=_MOST_BACK)
    connection.execute(_LET_GO, {"ids": [row.id for row in back]})
    line_up(connection, {flow_of(row) for row in back})
    return _ALL.holds.first(connection, provider=provider) is None


def take_back(connection: Connection, provider: str, prices: Prices, rooms: Rooms, now: datetime) -> None:
    """Put back in line the held generations that may fit their budgets now, or whose price may have changed.

    Takes as many of each flow as fit, because the line decides whose turn it is; what does not fit then is held again.
    """
    today = prices.day_of(now)
    holds = _ALL.holds.all(connection, provider=provider)
    if not holds:
        return
    if any(hold.held == BudgetKind.LABEL for hold in holds):
        holds = [hold for hold in holds if hold.held != BudgetKind.LABEL]
        holds += _OF_LABELS.holds.all(connection, provider=provider)
    batches = {hold: _flows_of(connection, provider, hold) for hold in holds if hold.held == BudgetKind.BATCH}
    purse = Purse(connection, provider, prices, today)
    # Only a hint, so nothing is locked: what comes back is checked again, like everything in line.
    purse.open({None}.union(*batches.values()), {hold.labels for hold in holds}, locked=False)
    back: list[_Held] = []
    for hold in holds:
        for batch_id in batches.get(hold, (None,)):
            left = purse.room(batch_id, hold.labels)
            fitting = _MOST_BACK if left is None or hold.held_prices != prices.digest else left // hold.price
            if fitting > 0:
                flows = _flows_of(connection, provider, hold) if batch_id is None else (batch_id,)
                back += _some_of_each(connection, provider, hold, flows, rooms, fitting=fitting)
    if back:
        connection.execute(_LET_GO, {"ids": [row.id for row in back]})
        line_up(connection, {flow_of(row) for row in back})


def _flows_of(connection: Connection, provider: str, hold: _Hold) -> Sequence[str]:
    """Return the flows of a hold in random order, so that none is left out every time."""
    flows = (_OF_LABELS if hold.held_label else _ALL).flows
    names = [row.flow for row in flows.all(connection, provider=provider, **hold._asdict())]
    random.shuffle(names)
    return names


def _some_of_each(
    connection: Connection, provider: str, hold: _Hold, flows: Sequence[str], rooms: Rooms, *, fitting: int
) -> list[_Held]:
    """Lock and return rows of this hold: up to `fitting` from each flow for which there is room, with a limit in total.

    Generations pinned to an account without room stay held: others of their flow would wait behind them.
    """
    mine = {"provider": provider, **hold._asdict()}
    held = (_OF_LABELS if hold.held_label else _ALL).held
    found: list[_Held] = []
    for name in flows:
        if len(found) >= _MOST_BACK:
            break
        for pinned, room in rooms.by_pin.items():
            found += held.all(connection, **mine, flow=name, to=pinned, limit=min(fitting, room))
    return found


def _let_go(connection: Connection, chosen: Sequence[tuple[Waiting, Quote, str]], now: datetime) -> None:
    alike: defaultdict[tuple[int | None, str], list[str]] = defaultdict(list)
    for row, quote, account in chosen:
        alike[quote.amount if is_counted(row, quote.amount) else None, account].append(row.id)
    for (price, account), ids in alike.items():
        connection.execute(_DISPATCH, {"ids": ids, "now": now, "at": price, "to": account})
