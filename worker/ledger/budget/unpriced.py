"""Counts submissions without a price, and charges them later."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import bindparam, select, update

from worker.generation import AttemptState
from worker.ledger.budget.booking import charge_row
from worker.ledger.budget.tiers import TIER, tier_of_row
from worker.ledger.changes import Changes
from worker.ledger.charges import add, charge_of, make_budgets
from worker.ledger.database import Part
from worker.ledger.labels import A_LABEL, pairs_of
from worker.ledger.schema import AnyBudgetKey, CleanText, attempts, budget_keys, charges, generations
from worker.ledger.statements import IDS, LIMIT, Query, insert_rows
from worker.pricing import Prices
from worker.secrets import SANDBOX_ACCOUNT

#: the most attempts that one transaction charges
BITE = 500
#: sorts after all ids
_AFTER_ALL = "gen_g"


class _Sent(NamedTuple):
    id: str
    provider: str
    batch_id: str | None
    tries: int
    number: int
    state: str
    sent_at: datetime
    operation: str
    speed: str | None
    version: str | None
    extras: Sequence[str] | None
    prompt: str | None
    options: Mapping[str, object] | None
    a_label: str | None


_a, _g, _c = attempts.c, generations.c, charges.c
_WITHOUT_CHARGE = (
    select(
        *(_g.id, _g.provider, _g.batch_id, _g.tries, _a.number, _a.state, _a.sent_at),
        *(*TIER, A_LABEL),
    )
    .join_from(attempts, generations, _g.id == _a.generation_id)
    .outerjoin(charges, (_c.generation_id == _a.generation_id) & (_c.number == _a.number))
    # Attempts in these two states cost nothing, nor do tests.
    .where(
        _c.generation_id.is_(None),
        _a.state.not_in([AttemptState.REJECTED, AttemptState.FAILED]),
        _a.account != SANDBOX_ACCOUNT,
    )
    .order_by(_a.generation_id, _a.number)
)
# Uses the index of attempts by generation, starting at the first id of the day: ids are in order of time.
_UNPRICED = Query(
    _Sent,
    _WITHOUT_CHARGE.where(
        _a.generation_id > bindparam("after", type_=CleanText()),
        _a.generation_id < bindparam("before", type_=CleanText()),
    ).limit(LIMIT),
)
_UNPRICED_OF = Query(_Sent, _WITHOUT_CHARGE.where(_a.generation_id.in_(IDS)))
# The price of a generation is the price of its last attempt; having one means that there are charges to settle.
_PRICED = (
    update(generations)
    .where(_g.id == bindparam("of", type_=CleanText()), _g.price.is_(None) | (_g.tries == bindparam("attempt")))
    .values(price=bindparam("at"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """Submissions of one provider and operation without a price.

    `amount`: their price according to the current price file, in millionths; None: it has no price for them.
    """

    provider: str
    operation: str
    number: int
    amount: int | None


class LaterPrices(Part):
    def unpriced(self, prices: Prices, since: date, until: date = date.max) -> list[Unpriced]:
        """Count submissions without a price, for generations created from `since` through `until`, most numerous first.

        A price of 0 in the price file counts as a price.
        """
        numbers: Counter[tuple[str, str, bool]] = Counter()
        amounts: Counter[tuple[str, str, bool]] = Counter()
        after, before = _first_id(prices, since), _AFTER_ALL
        if until < date.max:
            before = _first_id(prices, until + timedelta(days=1))
        while True:
            with self._database.read() as connection:
                rows = _UNPRICED.all(connection, after=after, before=before, limit=BITE)
            for row in (rows := _whole(rows)):
                tier = tier_of_row(row)
                quote = prices.quote(row.provider, row.operation, tier)
                if quote.amount or not prices.has_price(row.provider, row.operation, tier):
                    key = row.provider, row.operation, bool(quote.amount)
                    numbers[key] += 1
                    amounts[key] += quote.amount
            if not rows:
                break
            after = rows[-1].id
        return [
            Unpriced(provider=of[0], operation=of[1], number=number, amount=amounts[of] if of[2] else None)
            for of, number in sorted(numbers.items(), key=lambda one: (-one[1], one[0]))
        ]

    def price_now(self, prices: Prices, since: date) -> tuple[int, int]:
        """Charge unpriced submissions at current prices on the days they were sent, whether or not a cap has room.

        Return the number of charges and their amount. Works in short transactions; nothing is charged twice.
        """
        number = amount = 0
        after = _first_id(prices, since)
        while True:
            with self._database.read() as connection:
                rows = _whole(_UNPRICED.all(connection, after=after, before=_AFTER_ALL, limit=BITE))
            if not rows:
                return number, amount
            priced = self._charge(prices, rows)
            number, amount = number + len(priced), amount + sum(priced)
            after = rows[-1].id

    def _charge(self, prices: Prices, seen: Sequence[_Sent]) -> list[int]:
        ids = sorted({row.id for row in seen})
        with self._database.write() as connection:
            changes = Changes(connection, self._database.clock())
            # Every transaction that charges or settles these locks them.
            changes.lock(ids)
            quoted = [
                (row, prices.quote(row.provider, row.operation, tier_of_row(row)))
                for row in _UNPRICED_OF.each(connection, ids)
            ]
            priced = [(row, quote) for row, quote in quoted if quote.amount]
            labels = pairs_of(connection, [row.id for row, _ in priced if row.a_label is not None])
            deltas: defaultdict[AnyBudgetKey, Counter[str]] = defaultdict(Counter)
            rows = []
            for row, quote in priced:
                provider, day, state = row.provider, prices.day_of(row.sent_at), charge_of(row.state)
                rows.append(charge_row(row, quote, number=row.number, provider=provider, day=day, state=state))
                for key in budget_keys(day, provider, row.batch_id, labels.get(row.id, ())):
                    deltas[key][state] += quote.amount
            insert_rows(connection, charges, rows)
            if priced:
                make_budgets(connection, deltas)
                add(connection, deltas)
                # Makes `Changes` settle these generations from now on.
                connection.execute(
                    _PRICED, [{"of": row.id, "attempt": row.number, "at": quote.amount} for row, quote in priced]
                )
            changes.flush()
        return [quote.amount for _, quote in priced]


def _first_id(prices: Prices, since: date) -> str:
    """Return a string that sorts before all ids of generations created on or after that day."""
    midnight = datetime(since.year, since.month, since.day, tzinfo=prices.zone)
    return f"gen_{max(0, int(midnight.timestamp() * 1000)):012x}"


def _whole(rows: list[_Sent]) -> list[_Sent]:
    """Drop the last generation of a full page: it may have more attempts on the next page."""
    if len(rows) < BITE:
        return rows
    return [row for row in rows if row.id != rows[-1].id] or rows
