"""A ledger is the same whether what was heard is written group by group or row by row (`row_by_row`).

Hypothesis chooses histories; each is played twice on an empty ledger, and after each step all rows are compared.
"""

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from tests.clock import NOON, FakeClock
from tests.examples import examples
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, accepted, delivery, new, stored, task_of
from tests.postgres import Postgres
from tests.worker.ledger import row_by_row
from tests.worker.ledger.purses import NO_CAP, THREE_A_DAY
from worker.errors import AccountBlocked, CallbackUnreadable, NotTaken, ProviderError, Rejected, Uncertain
from worker.generation import Accepted, AssetState, Link, Outcome, Refused, State, Status, Trouble
from worker.ledger import Ledger
from worker.ledger.assets import ArchiveClaim, Archived, Lost, Postponed
from worker.ledger.changes import Person
from worker.ledger.outcome import News
from worker.ledger.schema import generation_deltas, metadata, tallies, tally_deltas
from worker.ledger.submission import Claim, Decision, Submitted

Step = tuple[str, Any]


class Verbs(NamedTuple):
    """What is done twice: in groups, and row by row."""

    submissions: Callable[[Ledger, Sequence[Submitted], timedelta], None]
    outcomes: Callable[[Ledger, Sequence[News]], Any]
    archived: Callable[[Ledger, Sequence[Archived]], Any]


IN_GROUPS = Verbs(
    lambda ledger, results, poll_after: ledger.submissions.record(results, poll_after),
    lambda ledger, news: ledger.generations.apply_outcomes(news),
    lambda ledger, done: ledger.assets.record(done),
)
BY_ROW = Verbs(row_by_row.record_submissions, row_by_row.apply_outcomes, row_by_row.record_archived)

SOON = timedelta(seconds=20)
REPLIES: dict[str, Callable[[Claim, Claim], Accepted | ProviderError]] = {
    "accepted": lambda mine, _: accepted(mine),
    "accepted with another's task": lambda _, other: accepted(other),
    "not taken": lambda *_: NotTaken("no room", code="no_room"),
    "too many": lambda *_: NotTaken("slower", code="slow", status=429, retry_after=SOON),
    "blocked": lambda *_: AccountBlocked("no credit", code="credit"),
    "rejected": lambda *_: Rejected("forbidden \ud800 word", code="forbidden"),
    "unclear": lambda *_: Uncertain("time-out", code="time_out"),
}
WORDS = ("succeeded", "two pictures", "text", "failed", "timeout", "unreadable", None, 20, 60)
ENDS: dict[str, Callable[[int], Any]] = {
    "stored": stored,
    "remarked": lambda index: replace(stored(index), remark="odd", seconds=5.04, accepted=True),
    "postponed": lambda index: Postponed(index=index, error="503", reason=Trouble.NO_ANSWER),
    "renewed": lambda index: Postponed(
        index=index, error="404", url="https://cdn.example/new.png", deadline=NOON + timedelta(hours=9)
    ),
    "goes on": lambda index: Postponed(index=index, error="set down", goes_on=True),
    "refused": lambda index: Postponed(
        index=index, error="no picture", refused=Refused(9, "cd" * 32, None, "no picture")
    ),
    "lost": lambda index: Lost(index, "404"),
    "unreachable": lambda index: Lost(index, "503", Trouble.UNREACHABLE),
}
#: each as often as it shall come
SAID = [*["accepted"] * 4, *["unclear"] * 3, *REPLIES]
HEARD = [*["succeeded"] * 4, *WORDS]
#: whose task a callback names: its own, that of another, or none
NAMED = [*["own"] * 12, "other", "none"]
DONE = [*["stored"] * 8, *ENDS]
DECIDED = ["again", "again", "cancel", "replay", *Decision, *[Decision.RESUBMIT] * 4]


def history_of(seed: int) -> list[Step]:
    """By chance and not by Hypothesis, which likes small and equal numbers: nothing meets anything then."""
    chance = random.Random(seed)
    one_of = chance.choice

    def which() -> int:
        return chance.randrange(12)

    def group(one: Callable[[], tuple[Any, ...]]) -> list[Any]:
        """Of some that are there, each with what happens to it; the same one may be in it twice."""
        return [(which(), *one()) for _ in range(chance.randint(1, 8))]

    steps: dict[str, Callable[[], Any]] = {
        "create": lambda: (chance.randint(1, 3), one_of([True, False])),
        "submit": lambda: one_of([None, NO_CAP, NO_CAP, THREE_A_DAY]),
        "reply": lambda: group(lambda: (one_of(SAID), which())),
        "hear": lambda: group(lambda: (one_of(HEARD), one_of(NAMED), which(), one_of([True, False]))),
        # As another worker does that has had the same callbacks for too long.
        "hear again": lambda: group(tuple),
        "archive": lambda: group(lambda: (chance.choices(DONE, k=chance.randint(0, 3)), one_of([True, False]))),
        "decide": lambda: group(lambda: (one_of(DECIDED),)),
        "describe": lambda: None,
        "wait": lambda: one_of([1, 20, LEASE.total_seconds() + 1, 900]),
    }
    names = chance.choices([*steps], weights=[2, 4, 5, 5, 2, 4, 2, 1, 2], k=chance.randint(8, 24))
    return [*BEGIN, *((name, steps[name]()) for name in names)]


BEGIN: list[Step] = [("create", (4, True)), ("create", (3, False)), ("submit", NO_CAP)]


class Play:
    def __init__(self, ledger: Ledger, verbs: Verbs) -> None:
        self.ledger = ledger
        self.verbs = verbs
        ledger.database.clock = self.clock = FakeClock()
        self.claims: list[Claim] = []
        self.heard: list[News] = []
        self.archiving: list[ArchiveClaim] = []

    def do(self, step: Step) -> Any:
        name, facts = step
        try:
            return getattr(self, name.replace(" ", "_"))(facts)
        except Exception as error:
            return type(error).__name__

    def create(self, facts: tuple[int, bool]) -> None:
        number, in_batch = facts
        self.ledger.generations.create([new(f"fox {one}") for one in range(number)], "batch" if in_batch else None)

    def submit(self, prices: Any) -> None:
        self.ledger.dispatch.run(PROVIDER, PLENTY, prices, ["default", "shop"])
        self.claims += self.ledger.submissions.claim(9, LEASE)

    def reply(self, group: Sequence[tuple[int, str, int]]) -> Any:
        results = [
            Submitted(self.claim(which).attempt_id, REPLIES[reply](self.claim(which), self.claim(other)))
            for which, reply, other in group
        ]
        return self.verbs.submissions(self.ledger, results, POLL_AFTER)

    def hear(self, group: Sequence[tuple[int, Any, str, int, bool]]) -> Any:
        news = [self.news(*one[:-1]) for one in group]
        bodies = [f"{number} {one}".encode() for number, one in enumerate(group)]
        calls = [number for number, one in enumerate(group) if one[-1]]
        self.ledger.callbacks.store(
            [delivery(news[it].attempt_id, bodies[it], f"{self.clock()} {bodies[it]!r}") for it in calls]
        )
        taken = {(one.attempt_id, one.body): one.id for one in self.ledger.callbacks.claim(99, LEASE)}
        for number, (one, body) in enumerate(zip(news, bodies, strict=True)):
            if callback_id := taken.get((one.attempt_id, body)):
                news[number] = replace(one, callback_id=callback_id, ended_at=self.clock())
        self.heard += [one for one in news if one.callback_id]
        return self.verbs.outcomes(self.ledger, news)

    def hear_again(self, group: Sequence[tuple[int]]) -> Any:
        # In a transaction that claims callbacks, each is there once.
        news = {which % len(self.heard): self.heard[which % len(self.heard)] for (which,) in group if self.heard}
        return self.verbs.outcomes(self.ledger, [*news.values()])

    def news(self, which: int, word: Any, named: str, other: int) -> News:
        claim = self.claim(which)
        # A callback may name an attempt that the ledger has never had.
        attempt_id = "nobody" if other == which else claim.attempt_id
        if word == "unreadable":
            return News(attempt_id, CallbackUnreadable("no JSON"), "callback")
        task_id = {"own": task_of(claim), "other": task_of(self.claim(other)), "none": None}[named]
        said: dict[str, Any] = {"status": Status.IN_PROGRESS, "progress": word}
        links = {"succeeded": 1, "two pictures": 2}.get(word, 0)
        if links or word == "text":
            found = tuple(Link(f"https://cdn.example/{number}.png") for number in range(links))
            said = {"status": Status.SUCCEEDED, "links": found, "actions": ("upscale1",), "parent": {"id": "\x00i"}}
            said |= {"text": {"prompts": ["a fox \ud800"]}} if word == "text" else {}
        elif word in {"failed", "timeout"}:
            said = {"status": Status.FAILED, "reason": word, "message": f"it {word}"}
        return News(attempt_id, Outcome(task_id=task_id, **said), "callback", (NOON + timedelta(hours=24),) * links)

    def archive(self, group: Sequence[tuple[int, Sequence[str], bool]]) -> Any:
        """Some of those that are taken now, or of earlier ones, whose leases are over or whose results are known."""
        # All, and in their order: among links that die at the same moment a database takes any.
        self.archiving += sorted(self.ledger.assets.claim(99, LEASE), key=lambda one: one.generation.id)
        done = []
        for which, ends, described in group if self.archiving else ():
            claim = self.archiving[which % len(self.archiving)]
            open_ = [asset.index for asset in claim.assets if asset.state is AssetState.WAITING]
            results = tuple(ENDS[end](index) for end, index in zip(ends, open_, strict=False))
            done.append(Archived(claim, results, described))
        return self.verbs.archived(self.ledger, done)

    def decide(self, group: Sequence[tuple[int, str]]) -> None:
        for which, what in group:
            ids = [self.claim(which).generation.id]
            (one,) = self.ledger.generations.get(ids)
            if what == "again":
                self.ledger.generations.retry(ids, may_pay_twice=True)
            elif what == "cancel":
                self.ledger.generations.cancel(ids)
            elif what == "replay":
                self.ledger.callbacks.replay()
            elif one.state is State.UNCONFIRMED:
                self.ledger.submissions.resolve(ids, Decision(what), Person("somebody"))

    def describe(self, _: None) -> None:
        while claim := self.ledger.assets.claim_manifest(LEASE):
            self.ledger.assets.record_manifest(claim)

    def wait(self, seconds: float) -> Any:
        self.clock.advance(seconds)
        return self.ledger.submissions.mark_lost_unconfirmed()

    def claim(self, which: int) -> Claim:
        return self.claims[which % len(self.claims)]


def rows_of(ledger: Ledger) -> dict[str, list[Any]]:
    """Of all tables, in order of their keys, with serial numbers without gaps."""
    found: dict[str, list[Any]] = {}
    with ledger.database.read() as connection:
        for table in metadata.sorted_tables:
            if table in (generation_deltas, tally_deltas):
                # One for each statement; what counts is their sum.
                keys = [one for one in table.columns if one.name not in {"id", "number"}]
                total = func.sum(table.c.number)
                query = select(*keys, total).group_by(*keys).having(total != 0)
                found[table.name] = sorted(map(repr, connection.execute(query)))
                continue
            rows = [dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key))]
            if table is tallies:
                # In groups, nothing passes through a state that it leaves at once.
                rows = [row for row in rows if row["number"]]
            for number, row in enumerate(rows if isinstance(rows and rows[0].get("id"), int) else []):
                row["id"] = number
            found[table.name] = rows
    return found


def play(ledger: Ledger, history: Sequence[Step], verbs: Verbs) -> Iterator[tuple[Any, dict[str, list[Any]]]]:
    with ledger.database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    random.seed(0)
    numbers = count()
    with pytest.MonkeyPatch.context() as patch:
        for module in ("generations.create", "generations.creation", "generations.task_import"):
            patch.setattr(
                f"worker.ledger.{module}.new_id", lambda prefix, _: f"{prefix}_{next(numbers):09}", raising=False
            )
        for module in ("submission.submissions", "assets.archiving"):
            patch.setattr(f"worker.ledger.{module}.secrets.token_hex", lambda _: f"{next(numbers):06}".ljust(32, "0"))
        stage = Play(ledger, verbs)
        for step in history:
            said = stage.do(step)
            yield said, rows_of(ledger)


def compare(ledger: Ledger, seed: int) -> None:
    history = history_of(seed)
    in_groups, by_row = (play(ledger, history, verbs) for verbs in (IN_GROUPS, BY_ROW))
    for step, (said, rows), (said_by_row, expected) in zip(history, [*in_groups], [*by_row], strict=True):
        assert said == said_by_row, step
        for name, table in expected.items():
            assert rows[name] == table, (name, step)


@pytest.fixture(scope="module")
def on_sqlite(migrated_file: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    ledger = Ledger(f"sqlite:///{shutil.copy(migrated_file, tmp_path_factory.mktemp('groups'))}")
    yield ledger
    ledger.close()


@pytest.fixture(scope="module")
def on_postgresql(postgres: Postgres, migrated_database: str) -> Iterator[Ledger]:
    ledger = Ledger(postgres.url(migrated_database))
    yield ledger
    ledger.close()


def profile(number: int) -> settings:
    return settings(max_examples=examples(number), suppress_health_check=list(HealthCheck))


SEEDS = st.integers(0, 2**32)


@profile(20)
@given(seed=SEEDS)
def test_groups_leave_the_rows_that_single_ones_leave_on_sqlite(on_sqlite: Ledger, seed: int):
    compare(on_sqlite, seed)


@profile(5)
@given(seed=SEEDS)
def test_groups_leave_the_rows_that_single_ones_leave_on_postgresql(on_postgresql: Ledger, seed: int):
    compare(on_postgresql, seed)
