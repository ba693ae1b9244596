"""Spending and remaining budgets; read-only. Amounts are millionths."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, SupportsInt

from sqlalchemy import Connection, bindparam, func, literal, select, text

from worker.ledger.budget.holding import Holding
from worker.ledger.budget.purse import stricter
from worker.ledger.budget.recount import Recount
from worker.ledger.budget.unpriced import LaterPrices
from worker.ledger.rows import names_of_batches
from worker.ledger.schema import (
    COUNTED,
    HELD,
    HELD_BY_LABEL,
    INCOMPLETE,
    LATE,
    POSSIBLE,
    RESERVED,
    SPENT,
    BudgetKind,
    CleanText,
    LabelKey,
    batches,
    budgets,
    charges,
    events,
    generations,
    label_budgets,
)
from worker.ledger.schema import labels as labels_table
from worker.ledger.statements import IDS, Query
from worker.pricing import ANY_VALUE, Prices

_c, _b, _g = charges.c, budgets.c, generations.c
_e = events.c
#: how many of the latest events are searched for the report of a full budget
_LATELY = 20_000
#: the most dimensions that sums can be grouped by
MOST_DIMENSIONS = 5
_NO_LABELS: Mapping[str, str] = MappingProxyType({})
_USED = sum((_b[state] for state in COUNTED[1:]), start=_b[COUNTED[0]]).label("used")


class _Amount(NamedTuple):
    #: one key per dimension
    key_0: str | None
    key_1: str | None
    key_2: str | None
    key_3: str | None
    key_4: str | None
    state: str
    #: PostgreSQL's sums are decimals
    amount: SupportsInt

    @property
    def keys(self) -> tuple[str | None, ...]:
        return self.key_0, self.key_1, self.key_2, self.key_3, self.key_4


class _AssumedAmount(NamedTuple):
    provider: str
    assumed: Sequence[str]
    amount: SupportsInt


class _OfDay(NamedTuple):
    #: empty: all providers together
    provider: str
    used: int


class _Running(NamedTuple):
    id: str
    name: str
    max_cost: int | None
    #: None: nothing in the batch was ever dispatched
    used: int | None


class _NumberHeld(NamedTuple):
    provider: str
    held: str
    number: int


class _NumberOfBatch(NamedTuple):
    batch_id: str
    number: int


class _NumberOfLabel(NamedTuple):
    held_label: str
    number: int


class _OfLabel(NamedTuple):
    name: str
    value: str
    used: int


class _Full(NamedTuple):
    at: datetime
    batch_id: str | None
    payload: Mapping[str, object]


_OF_DAY = Query(
    _OfDay,
    select(_b.provider, _USED).where(
        _b.kind.in_((BudgetKind.DAY, BudgetKind.PROVIDER)), _b.day == bindparam("day", type_=CleanText())
    ),
)
_IS_OF_BATCH = (_b.kind == BudgetKind.BATCH) & (_b.day == "") & (_b.provider == "") & (_b.batch_id == batches.c.id)
# An outer join, although batches without a budget are not wanted: with an inner join, SQLite would start from the
# budgets of all batches that ever existed.
_ALL_RUNNING = (
    select(batches.c.id, batches.c.name, batches.c.max_cost, _USED)
    .outerjoin_from(batches, budgets, _IS_OF_BATCH)
    .where(text(f"batches.{INCOMPLETE}"))
)
_RUNNING = Query(_Running, _ALL_RUNNING)
_CAPPED = Query(_Running, _ALL_RUNNING.where(batches.c.max_cost.is_not(None)))
_NUMBER_HELD = Query(
    _NumberHeld,
    select(_g.provider, _g.held, func.count().label("number")).where(text(HELD)).group_by(_g.provider, _g.held),
)
_NUMBER_HELD_BY_BATCH = Query(
    _NumberOfBatch,
    select(_g.batch_id, func.count().label("number"))
    .where(text(HELD), _g.provider.in_(IDS), _g.held == BudgetKind.BATCH)
    .group_by(_g.batch_id),
)
_NUMBER_HELD_BY_LABEL = Query(
    _NumberOfLabel,
    select(_g.held_label, func.count().label("number"))
    .where(text(HELD_BY_LABEL), _g.provider.in_(IDS))
    .group_by(_g.held_label),
)
_l = label_budgets.c
_USED_OF_LABEL = sum((_l[state] for state in COUNTED[1:]), start=_l[COUNTED[0]]).label("used")
_OF_LABELS = Query(
    _OfLabel, select(_l.name, _l.value, _USED_OF_LABEL).where(_l.name.in_(IDS)).order_by(_l.name, _l.value)
)
_OF_NAMED_LABELS = Query(
    _OfLabel,
    select(_l.name, _l.value, _USED_OF_LABEL).where(
        _l.name.in_(IDS), _l.value.in_(bindparam("values", type_=CleanText(), expanding=True))
    ),
)
_TOLD_LATELY = Query(
    _Full,
    select(_e.at, _e.batch_id, _e.payload)
    .where(_e.id > select(func.max(_e.id)).scalar_subquery() - _LATELY, _e.type == "budget.exceeded")
    .order_by(_e.id.desc()),
)


class By(StrEnum):
    DAY = "day"
    PROVIDER = "provider"
    BATCH = "batch"
    OPERATION = "operation"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class Dimension:
    """What sums are grouped by. `label`: the label's name, for `By.LABEL`."""

    by: By
    label: str = ""

    def __str__(self) -> str:
        return f"{self.by}:{self.label}" if self.label else self.by


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Known: paid, including late charges. Possible: outcome unknown. Reserved: in progress."""

    #: for each dimension, a day, a provider, an operation, the value of a label (None: without that label), or the id
    #: of a batch (None: in no batch)
    keys: tuple[str | None, ...]
    names: tuple[str, ...]
    known: int = 0
    late: int = 0
    possible: int = 0
    reserved: int = 0

    @property
    def key(self) -> str | None:
        """The key of the only dimension."""
        return self.keys[0]

    @property
    def name(self) -> str:
        """The name of the only dimension."""
        return self.names[0]

    @property
    def total(self) -> int:
        return self.known + self.possible + self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The state of a budget, which late charges may overdraw. `waiting`: generations that it has no room for.

    `is_own`: whether `cap` is a batch's own, not from the price file.
    """

    budget: By
    key: str
    name: str
    cap: int
    used: int
    waiting: int
    is_own: bool = False

    @property
    def left(self) -> int:
        return max(0, self.cap - self.used)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedOfCaps:
    """What was spent, reserved, or may have been spent: today in total, today by provider, and by label."""

    today: int
    providers: Mapping[str, int]
    labels: Mapping[LabelKey, int]


@dataclass(frozen=True, slots=True)
class Assumed:
    """An amount for which the factors of these extras were assumed, because no price file defined them."""

    provider: str
    extras: tuple[str, ...]
    amount: int


class Budgets(LaterPrices, Recount, Holding):
    def totals(
        self,
        by: Sequence[Dimension],
        since: date,
        labels: Mapping[str, str] = _NO_LABELS,
        until: date = date.max,
    ) -> list[Spent]:
        """Return the cost of what was dispatched from `since` through `until`, for generations with all these `labels`.

        There is one sum per combination of the dimensions: in order of days if the first dimension is the day,
        otherwise most expensive first.
        """
        query = _sums(by, labels)
        amounts: defaultdict[tuple[str | None, ...], Counter[str]] = defaultdict(Counter)
        with self._database.read() as connection:
            for row in query.all(connection, since=since.isoformat(), until=until.isoformat()):
                amounts[row.keys[: len(by)]][row.state] += int(row.amount)
            places = [place for place, one in enumerate(by) if one.by is By.BATCH]
            names = names_of_batches(connection, (keys[place] for keys in amounts for place in places))
        missing = {By.BATCH: "in no batch", By.LABEL: "without label"}
        found = []
        for keys, sums in amounts.items():
            told = (names.get(key or "", key or missing.get(one.by, "")) for key, one in zip(keys, by, strict=True))
            found.append(_spent(keys, tuple(told), sums))
        if by[0].by is By.DAY:
            return sorted(found, key=lambda one: (one.keys[0] or "", -one.total, [key or "" for key in one.keys]))
        return sorted(found, key=lambda one: (-one.total, [key or "" for key in one.keys]))

    def assumed(self, since: date, until: date = date.max) -> list[Assumed]:
        """Return the assumed amounts of what was dispatched from `since` through `until`, largest first."""
        query = Query(
            _AssumedAmount,
            select(_c.provider, _c.assumed, func.sum(_c.price).label("amount"))
            .where(_c.day.between(since.isoformat(), until.isoformat()), _c.state.in_(COUNTED), _c.assumed.is_not(None))
            .group_by(_c.provider, _c.assumed),
        )
        with self._database.read() as connection:
            found = [Assumed(row.provider, tuple(row.assumed), int(row.amount)) for row in query.all(connection)]
        return sorted(found, key=lambda one: (-one.amount, one.provider, one.extras))

    def standings(self, prices: Prices) -> list[Standing]:
        """Return every cap in effect: for today, each provider today, each incomplete batch, and labels.

        Labels without a cap of their own (`*`) are included only if at least half used or holding something back.
        """
        today = prices.day_of(self._database.clock())
        caps = prices.caps
        with self._database.read() as connection:
            # The key of a daily budget has no provider.
            used = {row.provider: row.used for row in _OF_DAY.all(connection, day=today)}
            waiting = _waiting(connection)
            running = (_RUNNING if caps.batch is not None or caps.batches else _CAPPED).all(connection)
            labelled = _OF_LABELS.all(connection, ids=sorted(caps.labels)) if caps.labels else []
        found = []
        if caps.day is not None:
            waits = waiting[By.DAY, ""]
            found.append(
                Standing(budget=By.DAY, key=today, name="today", cap=caps.day, used=used.get("", 0), waiting=waits)
            )
        for name, cap in caps.providers.items():
            waits = waiting[By.PROVIDER, name]
            found.append(
                Standing(
                    budget=By.PROVIDER, key=name, name=f"{name} today", cap=cap, used=used.get(name, 0), waiting=waits
                )
            )
        for row in running:
            if row.used is not None and (limit := stricter(caps.of_batch(row.name), row.max_cost)) is not None:
                of = {"key": row.id, "name": row.name}
                waits, is_own = waiting[By.BATCH, row.id], limit == row.max_cost
                found.append(Standing(budget=By.BATCH, cap=limit, used=row.used, waiting=waits, is_own=is_own, **of))
        used_of = {LabelKey(row.name, row.value): row.used for row in labelled}
        named = {LabelKey(name, value) for name, of in caps.labels.items() for value in of.keys() - {ANY_VALUE}}
        for key in sorted(named | used_of.keys()):
            limit, spent, waits = caps.of_label(*key), used_of.get(key, 0), waiting[By.LABEL, key.text]
            if limit is not None and (key in named or waits or 2 * spent >= limit):
                found.append(
                    Standing(budget=By.LABEL, key=key.text, name=key.text, cap=limit, used=spent, waiting=waits)
                )
        return found

    def used_of_caps(self, prices: Prices) -> UsedOfCaps:
        """Return what was used today and of each cap in the price file, except batch caps."""
        named = {LabelKey(name, value) for name, of in prices.caps.labels.items() for value in of.keys() - {ANY_VALUE}}
        with self._database.read() as connection:
            rows = _OF_DAY.all(connection, day=prices.day_of(self._database.clock()))
            labelled = _OF_NAMED_LABELS.all(
                connection, ids=sorted({key.name for key in named}), values=sorted({key.value for key in named})
            )
        # The key of a daily budget has no provider.
        used = {row.provider: row.used for row in rows}
        of_label = {LabelKey(row.name, row.value): row.used for row in labelled}
        return UsedOfCaps(
            today=used.pop("", 0), providers=used, labels={key: of_label.get(key, 0) for key in sorted(named)}
        )

    def used_today(self, prices: Prices) -> int:
        """Return what was spent, reserved, or may have been spent today."""
        with self._database.read() as connection:
            rows = _OF_DAY.all(connection, day=prices.day_of(self._database.clock()))
        # The key of a daily budget has no provider.
        return sum(row.used for row in rows if not row.provider)

    def full_since(self, cap: Standing) -> datetime | None:
        """Return when the budget was last reported to have no room; None if that was long ago."""
        with self._database.read() as connection:
            return next((row.at for row in _TOLD_LATELY.all(connection) if _is_of(cap, row)), None)


def _is_of(cap: Standing, event: _Full) -> bool:
    if cap.budget is By.BATCH:
        return event.batch_id == cap.key
    facts = event.payload
    if cap.budget is By.LABEL:
        return f"{facts.get('label')}={facts.get('value')}" == cap.key
    return facts.get("budget") == cap.budget and (cap.budget is By.DAY or facts.get("provider") == cap.key)


def _sums(by: Sequence[Dimension], labels: Mapping[str, str]) -> Query[_Amount]:
    """Return the query that sums charges by these dimensions over some days, for generations with these labels."""
    of_charge = {By.DAY: _c.day, By.PROVIDER: _c.provider, By.BATCH: _c.batch_id, By.OPERATION: _c.operation}
    mine = {one: labels_table.alias(f"by_{number}") for number, one in enumerate(by) if one.by is By.LABEL}
    keys = [mine[one].c.value if one in mine else of_charge[one.by] for one in by]
    unused = [literal(None, CleanText())] * (MOST_DIMENSIONS - len(by))
    columns = [key.label(f"key_{number}") for number, key in enumerate((*keys, *unused))]
    query = select(*columns, _c.state, func.sum(_c.price).label("amount")).select_from(charges)
    for one, table in mine.items():
        query = query.outerjoin(table, (table.c.generation_id == _c.generation_id) & (table.c.name == one.label))
    for number, (name, value) in enumerate(labels.items()):
        only = labels_table.alias(f"only_{number}").c
        query = query.join(
            only.value.table,
            (only.generation_id == _c.generation_id) & (only.name == name) & (only.value == value),
        )
    days = _c.day.between(bindparam("since", type_=CleanText()), bindparam("until", type_=CleanText()))
    return Query(_Amount, query.where(days, _c.state.in_(COUNTED)).group_by(*keys, _c.state))


def _spent(keys: tuple[str | None, ...], names: tuple[str, ...], sums: Counter[str]) -> Spent:
    return Spent(
        keys=keys,
        names=names,
        known=sums[SPENT] + sums[LATE],
        late=sums[LATE],
        possible=sums[POSSIBLE],
        reserved=sums[RESERVED],
    )


def _waiting(connection: Connection) -> Counter[tuple[By, str]]:
    """Count the generations that are held back, by kind of budget and by provider, batch or label."""
    found: Counter[tuple[By, str]] = Counter()
    holding_batches, holding_labels = [], []
    for row in _NUMBER_HELD.all(connection):
        if row.held == BudgetKind.BATCH:
            holding_batches.append(row.provider)
        elif row.held == BudgetKind.LABEL:
            holding_labels.append(row.provider)
        else:
            found[By(row.held), row.provider if row.held == BudgetKind.PROVIDER else ""] += row.number
    if holding_batches:
        for one in _NUMBER_HELD_BY_BATCH.all(connection, ids=holding_batches):
            found[By.BATCH, one.batch_id] += one.number
    if holding_labels:
        for of_label in _NUMBER_HELD_BY_LABEL.all(connection, ids=holding_labels):
            found[By.LABEL, of_label.held_label] += of_label.number
    return found
