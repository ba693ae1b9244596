"""The board: the progress of many batches, read again and again by people who keep it open all day.

What changes every second is read every time. Averages over minutes, and what takes longer to find, are read again after
a few seconds (`Slow`). More batches take no more statements, and larger batches no more reading, except for their
failures.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tasks.usecases.action_log import Action
from tasks.usecases.batches.show import BatchState, ListedBatch, listed, prices_of
from tasks.usecases.services import LedgerServices
from tasks.usecases.snapshots import Waits
from tasks.waiting import Cause, Wait, those_of
from worker.failures import REMEDIES, Category
from worker.generation import State
from worker.ledger.generations import BatchFacts, FailedOf
from worker.pricing import Prices

__all__ = ["About", "BatchState", "Board", "BoardRow", "Cause", "FailureGroup", "Slow", "Totals", "Wait",
           "about_batch", "show_board"]  # fmt: skip

#: rows per page
SHOWN = 50
#: seconds for which the slow part is reused
_FRESH = timedelta(seconds=5)
#: the time over which completions per minute are measured, and the maximum number of completions examined
_LATELY, _MOST_ENDED = timedelta(minutes=5), 5000
#: generations of a batch whose labels are shown, and actions shown
_LABELLED, _ACTIONS = 200, 20
#: causes that hold up the whole pipeline
_OF_ALL = (Cause.RESTORE_GUARD, Cause.WORKERS, Cause.CLOCK)
#: causes that the row's state already shows
_OF_STATE = (Cause.BATCH_PAUSED, Cause.BATCH_START, Cause.APPROVAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureGroup:
    """Failures with the same kind of reason; `reasons`: how many, by the provider's word."""

    category: Category
    reasons: Mapping[str, int]

    @property
    def number(self) -> int:
        return sum(self.reasons.values())

    @property
    def remedy(self) -> str:
        return REMEDIES[self.category]

    @property
    def is_retriable(self) -> bool:
        """Whether these can be retried at all."""
        return self.category is not Category.UNCONFIRMED


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardRow:
    """`per_minute`: how many finished lately; `left`: time until all have, at that rate, if any did.

    `cap`: its maximum cost, in millionths; `at_risk`: assets.
    """

    batch: ListedBatch
    prices: Prices | None
    per_minute: float
    left: timedelta | None
    cap: int | None
    at_risk: int
    decisions: int
    failures: Sequence[FailureGroup]
    waits: Sequence[Wait]

    @property
    def id(self) -> str:
        return self.batch.facts.id

    @property
    def is_open(self) -> bool:
        """Whether any of it can still be paused or cancelled."""
        return self.batch.done < self.batch.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Totals of the whole ledger. `spent_today`, `day_cap`: in millionths; `at_risk`: assets."""

    queued: int
    in_flight: int
    unconfirmed: int
    at_risk: int
    spent_today: int
    day_cap: int | None
    prices: Prices | None


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What does not change every second about a batch. `labels`: of its newest generations; `actions`: newest first."""

    labels: Mapping[str, Sequence[str]]
    actions: Sequence[Action]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """What `show_board` found out about these batches at `at` and can reuse for a while."""

    at: datetime
    prices: Prices | None
    counts: Mapping[str, Mapping[State, int]]
    per_minute: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, Sequence[FailedOf]] = field(default_factory=dict)
    at_risk: Mapping[str | None, int] = field(default_factory=dict)
    decisions: Mapping[str, int] = field(default_factory=dict)
    waits: Mapping[str, Sequence[Wait]] = field(default_factory=dict)
    waits_of_all: Sequence[Wait] = ()
    spent_today: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A page of batches, newest first. `waits`: what holds up all of them.

    `older`: the id after which the next page begins, if there is one.
    """

    at: datetime
    rows: Sequence[BoardRow]
    totals: Totals
    waits: Sequence[Wait]
    older: str | None
    slow: Slow


def show_board(
    here: LedgerServices,
    waits: Waits,
    *,
    before: str | None = None,
    batch: str | None = None,
    known: Slow | None = None,
) -> Board:
    """Return the newest batches, those before the batch with this id, or only `batch`.

    `known`: what the last read of the same page found. Raises NotFound for an unknown `batch`.
    """
    now, queries = here.clock(), here.ledger.generations
    is_fresh = known is not None and timedelta() <= now - known.at < _FRESH
    prices = known.prices if known is not None and is_fresh else prices_of(here)
    found = queries.newest_batches(SHOWN + 1, before) if batch is None else [queries.batch_facts(batch)]
    page = found[:SHOWN]
    rows = listed(here, page, prices)
    counts = queries.counts()
    if known is not None and is_fresh and all(one.id in known.counts for one in page):
        slow = known
    else:
        slow = _ask(here, waits, rows, prices, known)
    return Board(
        at=now,
        rows=[_row(one, prices, slow) for one in rows],
        totals=Totals(
            queued=counts.get(State.QUEUED, 0),
            in_flight=counts.get(State.SUBMITTING, 0) + counts.get(State.SUBMITTED, 0),
            unconfirmed=counts.get(State.UNCONFIRMED, 0),
            at_risk=sum(slow.at_risk.values()),
            spent_today=slow.spent_today,
            day_cap=None if prices is None else prices.caps.day,
            prices=prices,
        ),
        waits=slow.waits_of_all,
        older=page[-1].id if len(found) > len(page) else None,
        slow=slow,
    )


def about_batch(here: LedgerServices, batch_id: str) -> About:
    """Return its labels and what was done to it."""
    newest = here.ledger.generations.page(batch=batch_id, limit=_LABELLED)
    labels: defaultdict[str, set[str]] = defaultdict(set)
    for of_one in here.ledger.generations.labels_of([one.id for one in newest]).values():
        for name, value in of_one.items():
            labels[name].add(value)
    return About(
        labels={name: sorted(labels[name]) for name in sorted(labels)},
        actions=here.ledger.access.actions_about(batch_id)[:_ACTIONS],
    )


def _ask(
    here: LedgerServices, waits: Waits, rows: Sequence[ListedBatch], prices: Prices | None, known: Slow | None
) -> Slow:
    now = here.clock()
    ledger, since = here.ledger, now - _LATELY
    ids = [one.facts.id for one in rows]
    counts = {one.facts.id: one.counts for one in rows}
    open_ids = [one.facts.id for one in rows if one.done < one.total]
    # Finished batches are not read again while nothing in them changes.
    same = known.counts.keys() - set(open_ids) if known is not None else set()
    kept = {one: known.failed.get(one, ()) for one in same if known and known.counts[one] == counts.get(one)}
    failed: defaultdict[str, list[FailedOf]] = defaultdict(list)
    for failure in ledger.generations.failed_of_batches([one for one in ids if one not in kept], since):
        failed[failure.batch_id].append(failure)
    ended = ledger.generations.ended_lately(since, _MOST_ENDED)
    edges = defaultdict(list)
    for generation in ledger.generations.edges_of_batches(open_ids):
        edges[generation.batch_id].append(generation)
    why = waits.now() if open_ids else ()
    of_some = [wait for wait in why if wait.cause not in (*_OF_ALL, *_OF_STATE)]
    return Slow(
        at=now,
        prices=prices,
        counts=counts,
        per_minute={
            one.facts.id: _rate(one.facts, now, ended.since, ended.numbers.get(one.facts.id, 0))
            + _rate(one.facts, now, since, sum(failure.lately for failure in failed[one.facts.id]))
            for one in rows
        },
        failed={**failed, **kept},
        at_risk=ledger.assets.count_at_risk(now + here.settings.at_risk),
        decisions=ledger.approvals.count_pending_of(ids),
        waits={one: those_of(edges[one], of_some) for one in open_ids},
        waits_of_all=[wait for wait in why if wait.cause in _OF_ALL],
        spent_today=0 if prices is None else ledger.budgets.used_today(prices),
    )


def _rate(facts: BatchFacts, now: datetime, since: datetime, number: int) -> float:
    """Return the number per minute, since then or since the batch was created."""
    return 60 * number / max(60.0, (now - max(since, facts.created_at)).total_seconds())


def _row(one: ListedBatch, prices: Prices | None, slow: Slow) -> BoardRow:
    facts, mine = one.facts, one.facts.id
    per_minute = slow.per_minute.get(mine, 0.0)
    unfinished = one.total - one.done
    caps = (facts.max_cost, None if prices is None else prices.caps.of_batch(facts.name))
    reasons: defaultdict[Category, Counter[str]] = defaultdict(Counter)
    for failure in slow.failed.get(mine, ()):
        reasons[failure.category][failure.reason] += failure.number
    groups = (FailureGroup(category=category, reasons=found) for category, found in reasons.items())
    return BoardRow(
        batch=one,
        prices=prices,
        per_minute=per_minute,
        left=timedelta(minutes=unfinished / per_minute) if per_minute and unfinished else None,
        cap=min((cap for cap in caps if cap is not None), default=None),
        at_risk=slow.at_risk.get(mine, 0),
        decisions=slow.decisions.get(mine, 0),
        failures=sorted(groups, key=lambda group: (-group.number, group.category)),
        waits=slow.waits.get(mine, ()),
    )
