"""The metrics of `/metrics`: families, and the parts in which they are read.

Everything except the lengths of the broker's queues comes from the ledger, at a cost that does not depend on its size.
A part that cannot be read has no samples, because a zero would be a claim.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from tasks.usecases.services import LedgerServices
from tasks.usecases.workers import FORGOTTEN, MOST_COUNTED
from worker.errors import LedgerUnavailable
from worker.generation import State, Verdict
from worker.ledger.dispatch import Slowed
from worker.ledger.maintenance import (
    ACKNOWLEDGED_BOUNDS,
    BEYOND,
    LINK_LIFE_BOUNDS,
    Tally,
    TallyKey,
    estimated_size,
)
from worker.pricing import MILLION
from worker.providers import PROVIDERS
from worker.secrets import described
from worker.steps import REQUEST_QUEUE
from worker.wakeup import requests_waiting, waiting

log = logging.getLogger(__name__)


class Kind(StrEnum):
    GAUGE = "gauge"
    #: only increases, even across restarts
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """`name`: as it is exposed, a counter's with `_total`; `source`: where the values come from."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    meaning: str
    source: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """`buckets`: each bound with the number of values up to it."""

    buckets: tuple[tuple[str, int], ...]
    sum: float


@dataclass(frozen=True, slots=True)
class Sample:
    """`labels`: the values, in the order of the family's."""

    family: Family
    labels: tuple[str, ...]
    value: float | Histogram


@dataclass(frozen=True, slots=True)
class Part:
    """What is read together. `read` returns None if there is nothing to show, such as without prices."""

    name: str
    families: tuple[Family, ...]
    read: Callable[[LedgerServices], Sequence[Sample] | None]


#: by part; a missing part could not be read
Readings = Mapping[str, Sequence[Sample] | None]


def _gauge(name: str, labels: tuple[str, ...], meaning: str, source: str) -> Family:
    return Family(name=f"darkroom_{name}", kind=Kind.GAUGE, labels=labels, meaning=meaning, source=source)


def _counter(name: str, labels: tuple[str, ...], meaning: str, source: str) -> Family:
    return Family(name=f"darkroom_{name}", kind=Kind.COUNTER, labels=labels, meaning=meaning, source=source)


def _histogram(name: str, labels: tuple[str, ...], meaning: str, source: str) -> Family:
    return Family(name=f"darkroom_{name}", kind=Kind.HISTOGRAM, labels=labels, meaning=meaning, source=source)


_COUNTED = "tallies, added up in the transaction that they count"
_GENERATIONS = _gauge(
    "generations", ("state", "provider"), "Generations in each state now.",
    "tallies, counted by triggers",
)  # fmt: skip
_CALLBACKS = _counter(
    "callbacks_total", ("provider", "verdict"),
    "Processed callbacks by verdict; a replayed callback counts again.", _COUNTED,
)  # fmt: skip
_ANSWERS = _counter(
    "callback_answers_total", ("status",),
    "Responses of all receivers to requests at /callbacks, by HTTP status.", "tallies, from receivers every 10 s",
)  # fmt: skip
_ACKNOWLEDGED = _histogram(
    "callback_acknowledgement_seconds", (),
    "Seconds from a callback's arrival at a receiver until it was stored and answered 200, across all receivers.",
    "tallies, from receivers every 10 s",
)  # fmt: skip
_LINK_LIFE = _histogram(
    "archive_link_life_left_ratio", ("provider",),
    "Share of its link's lifetime that each asset had left when it was stored: 1 at once, 0 at the last second or "
    "later. Assets that were already in the bucket are not counted.",
    _COUNTED,
)  # fmt: skip
_RECOVERIES = _counter(
    "sweep_recoveries_total", ("kind",),
    "Work of dead processes that others took over: a `submission`, which is then unconfirmed, a `callback`, or a "
    "generation in `archive`.", _COUNTED,
)  # fmt: skip
_DUE = _gauge(
    "work_due", ("step",),
    f"Rows that each step could process now, at most {MOST_COUNTED:,} of each kind. For `dispatch`: batches with "
    "waiting generations.", "the queries of the sweep",
)  # fmt: skip
_DUE_AGE = _gauge(
    "work_due_oldest_age_seconds", ("step",),
    "How long the oldest of them has been due, 0 if none is; only for steps whose index shows it.",
    "the first row of an index",
)  # fmt: skip
_AT_RISK = _gauge(
    "assets_at_risk", (),
    "Assets that are not stored and whose link expires within DARKROOM_AT_RISK_HOURS, or that are in trouble; at most "
    "1,000 of each.", "waiting assets",
)  # fmt: skip
_UNCONFIRMED = _gauge(
    "unconfirmed", ("older_than_horizon",),
    "Submissions with an unknown outcome, perhaps paid for; after DARKROOM_HORIZON_MINUTES, a person has to decide.",
    f"attempts of unconfirmed generations, of the first {MOST_COUNTED:,}",
)  # fmt: skip
_UNCONFIRMED_AGE = _gauge(
    "unconfirmed_oldest_age_seconds", (), "Time since the oldest of them was sent; 0 if there is none.",
    "the same",
)  # fmt: skip
_PAUSED = _gauge(
    "account_paused", ("provider", "account", "reason"),
    "1 while nothing is submitted to the account: its `key` or balance was refused, a `person` paused it, the "
    "`provider` asked for a pause, or the circuit breaker is open (`circuit_open`).", "accounts",
)  # fmt: skip
_HEARTBEAT = _gauge(
    "heartbeat_age_seconds", ("process", "kind"),
    "Time since the last heartbeat of each worker, clock and receiver seen in the last day and not stopped.",
    "heartbeats",
)  # fmt: skip
_ROWS = _gauge(
    "table_rows", ("table",), "Rows of each table, estimated.",
    "PostgreSQL's statistics; on SQLite the numbers of the first and the last row",
)  # fmt: skip
_BYTES = _gauge(
    "table_bytes", ("table",),
    "Bytes of each table with its indexes. Not on SQLite, which would have to read the whole file.",
    "PostgreSQL's catalogue",
)  # fmt: skip
_LEDGER_BYTES = _gauge("ledger_bytes", (), "Bytes of the whole database.", "the catalogue, or the file's pages")
_PRUNED = _gauge(
    "prune_last_run_timestamp_seconds", (),
    "When pruning of old rows last ran to completion; absent if never, as with DARKROOM_KEEP_DAYS=0.", "prunes",
)  # fmt: skip
_SPENT = _gauge(
    "spend_today", ("provider",),
    "What was spent, is reserved, or may have been spent today, in the currency of the price file.", "budgets",
)  # fmt: skip
_CAP = _gauge(
    "spend_cap", ("budget",),
    "The caps of the price file: `day`, `day/PROVIDER`, or a label such as `client=acme`; not the caps of batches.",
    "the price file",
)  # fmt: skip
_USED = _gauge("spend_budget_used", ("budget",), "What counts against each of these caps.", "budgets")
_QUEUE = _gauge(
    "broker_queue_length", ("queue",),
    "Messages in each queue of the broker: wake-ups, each of which stands for any number of rows; in `generations`, "
    "requests from other applications.", "the broker",
)  # fmt: skip
PART_UP = _gauge(
    "part_up", ("part",),
    "0 if this part of the scrape could not be read; its families are then absent.", "the scrape",
)  # fmt: skip
DURATION = _gauge("scrape_duration_seconds", (), "How long it took to read all parts.", "the scrape")

#: kinds of `darkroom_sweep_recoveries_total`
RECOVERIES = ("submission", "callback", "archive")
#: reasons of `darkroom_account_paused`
PAUSES = ("key", "person", "provider", "circuit_open")


def read_parts(here: LedgerServices, parts: Sequence[Part]) -> Readings:
    """Read parts one by one. If the ledger is unavailable, skip the rest, which would wait just as long."""
    found: dict[str, Sequence[Sample] | None] = {}
    for part in parts:
        try:
            found[part.name] = part.read(here)
        except Exception as error:  # noqa: BLE001  whatever it is, the other parts can be read
            log.warning("metrics: %s cannot be read: %s", part.name, described(error))
            if isinstance(error, LedgerUnavailable):
                break
    return found


def _counts(here: LedgerServices) -> list[Sample]:
    tallies = here.ledger.maintenance.tallies()
    providers = sorted({key.provider for key in tallies if key.provider})
    return [
        *(
            Sample(_GENERATIONS, (state, name), tallies.get(TallyKey(Tally.GENERATIONS, name, state), 0))
            for name in providers
            for state in State
        ),
        *(
            Sample(_CALLBACKS, (name, verdict), tallies.get(TallyKey(Tally.CALLBACKS, name, verdict), 0))
            for name in providers
            for verdict in Verdict
            if verdict is not Verdict.DISMISSED
        ),
        *(
            Sample(_ANSWERS, (key.value,), number)
            for key, number in sorted(tallies.items())
            if key.kind is Tally.ANSWERS
        ),
        Sample(
            _ACKNOWLEDGED,
            (),
            _buckets(tallies, (Tally.ACKNOWLEDGED, Tally.ACKNOWLEDGED_MICROSECONDS), "", ACKNOWLEDGED_BOUNDS),
        ),
        *(
            Sample(
                _LINK_LIFE,
                (name,),
                _buckets(tallies, (Tally.LINK_LIFE, Tally.LINK_LIFE_MILLIONTHS), name, LINK_LIFE_BOUNDS),
            )
            for name in providers
        ),
        *(
            Sample(_RECOVERIES, (kind,), tallies.get(TallyKey(Tally.RECOVERIES, "", kind), 0))
            for kind in RECOVERIES
        ),
    ]  # fmt: skip


def _buckets(
    tallies: Mapping[TallyKey, int], kinds: tuple[Tally, Tally], provider: str, bounds: Sequence[float]
) -> Histogram:
    """`kinds`: of the buckets, and of the sum in millionths.

    A bound that another version used counts in the next one.
    """
    numbers = {
        float(key.value): number for key, number in tallies.items() if (key.kind, key.provider) == (kinds[0], provider)
    }
    buckets = [(str(bound), sum(it for at, it in numbers.items() if at <= bound)) for bound in bounds]
    total = tallies.get(TallyKey(kinds[1], provider, ""), 0) / 1_000_000
    return Histogram((*buckets, (BEYOND, sum(numbers.values()))), total)


def _work(here: LedgerServices) -> list[Sample]:
    maintenance, now = here.ledger.maintenance, here.clock()
    return [
        *(Sample(_DUE, (step,), number) for step, number in maintenance.due_counts(MOST_COUNTED).items()),
        *(
            Sample(_DUE_AGE, (step,), _age(now - at) if at else 0.0)
            for step, at in maintenance.due_since().items()
        ),
    ]  # fmt: skip


def _results(here: LedgerServices) -> list[Sample]:
    risky = here.ledger.assets.count_at_risk(here.clock() + here.settings.at_risk)
    return [Sample(_AT_RISK, (), sum(risky.values()))]


def _unconfirmed(here: LedgerServices) -> list[Sample]:
    now = here.clock()
    number = here.ledger.generations.counts().get(State.UNCONFIRMED, 0)
    ages = here.ledger.submissions.unconfirmed_ages(now - here.settings.horizon, MOST_COUNTED)
    return [
        Sample(_UNCONFIRMED, ("true",), ages.older),
        Sample(_UNCONFIRMED, ("false",), max(0, number - ages.older)),
        Sample(_UNCONFIRMED_AGE, (), _age(now - ages.oldest) if ages.oldest else 0.0),
    ]


def _accounts(here: LedgerServices) -> list[Sample]:
    return [
        Sample(_PAUSED, (one.provider, one.account, reason), reason == _pause(one))
        for one in here.ledger.dispatch.accounts()
        for reason in PAUSES
    ]


def _pause(one: Slowed) -> str | None:
    """Return why nothing is submitted to it, as one of `PAUSES`."""
    if one.paused_until is None:
        return "circuit_open" if one.is_open else None
    if one.paused_key is not None:
        return "key"
    return "person" if (one.reason or "").startswith("paused by ") else "provider"


def _processes(here: LedgerServices) -> list[Sample]:
    now = here.clock()
    return [
        Sample(_HEARTBEAT, (beat.worker, beat.role), _age(now - beat.seen_at))
        for beat in here.ledger.maintenance.processes()
        if not beat.is_stopped and beat.silence(now) <= FORGOTTEN
    ]


def _tables(here: LedgerServices) -> list[Sample]:
    size = estimated_size(here.ledger.database)
    return [
        *(Sample(_ROWS, (table,), number) for table, number in sorted(size.rows.items())),
        *(Sample(_BYTES, (table,), number) for table, number in sorted(size.table_bytes.items())),
        Sample(_LEDGER_BYTES, (), size.bytes),
    ]


def _prune(here: LedgerServices) -> list[Sample]:
    ended_at = here.ledger.maintenance.last_pruned()
    return [Sample(_PRUNED, (), ended_at.timestamp())] if ended_at else []


def _spend(here: LedgerServices) -> list[Sample] | None:
    prices = here.settings.read_prices(PROVIDERS)
    if prices is None:
        return None
    used, caps = here.ledger.budgets.used_of_caps(prices), prices.caps
    today = dict.fromkeys(PROVIDERS, 0) | dict(used.providers)
    budgets = [("day", caps.day, used.today)]
    budgets += [(f"day/{name}", cap, used.providers.get(name, 0)) for name, cap in caps.providers.items()]
    budgets += [(key.text, caps.of_label(*key), amount) for key, amount in used.labels.items()]
    capped = [(name, cap, amount) for name, cap, amount in budgets if cap is not None]
    return [
        *(Sample(_SPENT, (name,), amount / MILLION) for name, amount in sorted(today.items())),
        *(Sample(_CAP, (name,), cap / MILLION) for name, cap, _ in capped),
        *(Sample(_USED, (name,), amount / MILLION) for name, _, amount in capped),
    ]


def _broker(_: LedgerServices) -> list[Sample]:
    lengths = {queue: one.messages for queue, one in waiting().items()} | {REQUEST_QUEUE: requests_waiting()}
    return [Sample(_QUEUE, (queue,), number) for queue, number in lengths.items()]


def _age(age: timedelta) -> float:
    """Return seconds; 0 for a time in the future, written by a wrong clock."""
    return max(0.0, age.total_seconds())


#: the most important first
OF_LEDGER: tuple[Part, ...] = (
    Part("counts", (_GENERATIONS, _CALLBACKS, _ANSWERS, _ACKNOWLEDGED, _LINK_LIFE, _RECOVERIES), _counts),
    Part("results", (_AT_RISK,), _results),
    Part("unconfirmed", (_UNCONFIRMED, _UNCONFIRMED_AGE), _unconfirmed),
    Part("processes", (_HEARTBEAT,), _processes),
    Part("accounts", (_PAUSED,), _accounts),
    Part("work", (_DUE, _DUE_AGE), _work),
    Part("spend", (_SPENT, _CAP, _USED), _spend),
    Part("prune", (_PRUNED,), _prune),
    Part("tables", (_ROWS, _BYTES, _LEDGER_BYTES), _tables),
)
OF_BROKER: tuple[Part, ...] = (Part("broker", (_QUEUE,), _broker),)
PARTS = (*OF_LEDGER, *OF_BROKER)
FAMILIES = (*(family for part in PARTS for family in part.families), PART_UP, DURATION)
