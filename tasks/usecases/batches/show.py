"""The progress of batches: all of them in a list, or one in detail."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tasks.usecases.at_risk import at_risk
from tasks.usecases.names import find_batch
from tasks.usecases.queries import list_waits
from tasks.usecases.scope import BatchScope
from tasks.usecases.services import LedgerServices
from tasks.waiting import Wait, those_of
from worker.errors import ConfigurationError
from worker.generation import FINAL, State
from worker.ledger.generations import BatchFacts, BatchMoney, Failure
from worker.pricing import Prices
from worker.providers import PROVIDERS

#: the time over which completions per minute are measured
_LATELY = timedelta(minutes=5)
#: batches read at once, and generations of one batch that are examined for why they wait
_PAGE, _MOST = 100, 1000


class BatchState(StrEnum):
    #: its start time is still to come
    SCHEDULED = "scheduled"
    PAUSED = "paused"
    RUNNING = "running"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedBatch:
    """`spent`: text with its currency; None without prices."""

    facts: BatchFacts
    state: BatchState
    counts: Mapping[State, int]
    money: BatchMoney
    spent: str | None
    age: timedelta

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        return sum(number for state, number in self.counts.items() if state in FINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDetails:
    """`per_minute`: how many finished lately; `left`: time until all have, at that rate, if any did.

    `cap`: its maximum cost in millionths, the lower of its own limit and the price file's. `at_risk`: assets.
    `decisions`: how many decisions about images are pending.
    """

    batch: ListedBatch
    prices: Prices | None
    per_minute: float
    left: timedelta | None
    cap: int | None
    at_risk: int
    decisions: int
    failures: Sequence[Failure]
    waits: Sequence[Wait]


def list_batches(here: LedgerServices, limit: int | None = None, *, before: str | None = None) -> Iterator[ListedBatch]:
    """Yield batches, newest first, read a page at a time; `before`: only those older than the one with this id."""
    prices = prices_of(here)
    left = limit
    while left is None or left > 0:
        page = here.ledger.generations.newest_batches(_PAGE if left is None else min(_PAGE, left), before)
        if not page:
            return
        yield from listed(here, page, prices)
        before = page[-1].id
        left = None if left is None else left - len(page)


def show_batch(here: LedgerServices, name: str) -> BatchDetails:
    """Return a batch in detail. Raises NotFound; RequestInvalid if the name is ambiguous."""
    generations, now = here.ledger.generations, here.clock()
    facts = generations.batch_facts(find_batch(here.ledger, name))
    prices = prices_of(here)
    (batch,) = listed(here, [facts], prices)
    since = max(now - _LATELY, facts.created_at)
    minutes = max(1.0, (now - since).total_seconds()) / 60
    ended = generations.ended_since(facts.id, since)
    unfinished = batch.total - batch.done
    waits = list_waits(here) if unfinished else ()
    risky = at_risk(here).assets if unfinished else ()
    limits = (facts.max_cost, None if prices is None else prices.caps.of_batch(facts.name))
    return BatchDetails(
        batch=batch,
        prices=prices,
        per_minute=ended / minutes,
        left=timedelta(minutes=unfinished * minutes / ended) if ended and unfinished else None,
        cap=min((limit for limit in limits if limit is not None), default=None),
        at_risk=sum(one.owner.batch_id == facts.id for one in risky),
        decisions=here.ledger.approvals.count_pending(facts.id),
        failures=generations.failures_of(facts.id),
        waits=those_of(BatchScope(here.ledger, facts.id).some(_MOST), waits) if waits else (),
    )


def listed(here: LedgerServices, page: Sequence[BatchFacts], prices: Prices | None) -> list[ListedBatch]:
    """Return the progress of each of these."""
    now, ids = here.clock(), [one.id for one in page]
    counts = here.ledger.generations.counts_of_batches(ids)
    money = here.ledger.generations.money_of_batches(ids)
    return [
        ListedBatch(
            facts=facts,
            state=_state_of(facts, now),
            counts=counts.get(facts.id, {}),
            money=(spent := money.get(facts.id, BatchMoney())),
            spent=None if prices is None else prices.text(spent.known),
            age=now - facts.created_at,
        )
        for facts in page
    ]


def _state_of(facts: BatchFacts, now: datetime) -> BatchState:
    if facts.completed_at is not None:
        return BatchState.COMPLETE
    if facts.paused_at is not None:
        return BatchState.PAUSED
    is_scheduled = facts.start_at is not None and facts.start_at > now
    return BatchState.SCHEDULED if is_scheduled else BatchState.RUNNING


def prices_of(here: LedgerServices) -> Prices | None:
    """Return the price file's prices; None without one, or if it is invalid."""
    try:
        return here.settings.read_prices(PROVIDERS)
    except ConfigurationError:
        # The workers and the doctor report this.
        return None
