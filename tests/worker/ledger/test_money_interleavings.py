"""No interleaving of anything spends more than a cap allows, and the budgets are always the sum of their charges."""

import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select

from tests.clock import FakeClock
from tests.examples import examples
from tests.factories import LEASE, POLL_AFTER, accepted, at_once, failure, new, progress, success
from tests.worker.ledger.purses import submit_again, totals
from worker.errors import NotTaken, Rejected, Uncertain
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.budget import Purse
from worker.ledger.changes import Person
from worker.ledger.dispatch import Limits
from worker.ledger.schema import LATE, RELEASED, SPENT, attempts, batches, budgets, charges, label_budgets, metadata
from worker.ledger.submission import Claim, Decision, Submitted
from worker.pricing.prices import Caps, Prices, Rule

PROVIDERS = ("acedata", "kie")
RULES = (Rule(price=1), Rule(price=2, speed="turbo"), Rule(price=0, provider="kie", operation="imagine", speed="relax"))
CAPS = Caps(
    day=7,
    providers={"kie": 4},
    batch=3,
    batches={"b1": 5},
    labels={"client": {"acme": 3, "*": 2}, "order": {"7": 2}},
)
#: those in use, those after a person has changed the file
PRICES = (
    Prices(rules=RULES, caps=CAPS),
    Prices(rules=(Rule(price=2),), caps=CAPS),
)
ROOM = Limits(rate=4, in_flight=6)
ANSWERS = (NotTaken("no", code="no", retry_after=timedelta(0)), Rejected("no", code="no"), Uncertain("?", code="?"))
LABELS: list[dict[str, str]] = [
    *({}, {}, {"client": "acme"}, {"client": "beta"}, {"client": "acme", "order": "7"}, {"note": "no cap"}),
]
WORDS = st.sampled_from([success, failure, lambda claim: progress(claim, 40)])


def check(ledger: Ledger) -> None:
    """Every budget is within its cap but for what came late, and says what its charges say."""
    totals(ledger)
    caps = PRICES[0].caps
    with ledger.database.read() as connection:
        names = {row.id: row.name for row in connection.execute(select(batches))}
        for row in connection.execute(select(budgets)):
            cap = {
                "day": caps.day,
                "provider": caps.providers.get(row.provider),
                "batch": row.batch_id and caps.of_batch(names[row.batch_id]),
            }[row.kind]
            assert min(row.reserved, row.possible, row.spent, row.late) >= 0
            assert cap is None or row.reserved + row.possible + row.spent <= cap, row
        for row in connection.execute(select(label_budgets)):
            limit = caps.of_label(row.name, row.value)
            assert min(row.reserved, row.possible, row.spent, row.late) >= 0
            assert limit is None or row.reserved + row.possible + row.spent <= limit, row
        paid = select(attempts.c.id, charges.c.state).where(
            attempts.c.generation_id == charges.c.generation_id, attempts.c.number == charges.c.number
        )
        charged = {row.id: row.state for row in connection.execute(paid)}
        for attempt in connection.execute(select(attempts).where(attempts.c.id.in_(charged))):
            if attempt.state in {"succeeded", "charged"}:
                assert charged[attempt.id] in {SPENT, LATE}
            else:
                assert (charged[attempt.id] == RELEASED) is (attempt.state in {"rejected", "failed"})


class Money(RuleBasedStateMachine):
    ledger: Ledger
    numbers: Iterator[int]

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        self.ledger.database.clock = self.clock
        with self.ledger.database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
        Money.numbers = count()
        self.ids: list[str] = []
        self.claims: list[Claim] = []

    @rule(
        number=st.integers(1, 4),
        batch=st.sampled_from([None, "b1", "b2"]),
        provider=st.sampled_from(PROVIDERS),
        speed=st.sampled_from([{}, {"speed": "turbo"}, {"speed": "relax"}]),
        labels=st.sampled_from(LABELS),
    )
    def create(
        self, number: int, batch: str | None, provider: str, speed: dict[str, str], labels: dict[str, str]
    ) -> None:
        priority = number % 2
        wanted = [new(provider=provider, options=speed, priority=priority, labels=labels) for _ in range(number)]
        self.ids += [generation.id for generation in self.ledger.generations.create(wanted, batch)]

    @rule(provider=st.sampled_from(PROVIDERS), prices=st.sampled_from([PRICES[0], PRICES[0], PRICES[0], PRICES[1]]))
    def dispatch(self, provider: str, prices: Prices) -> None:
        self.ledger.dispatch.run(provider, ROOM, prices)

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        self.claims += self.ledger.submissions.claim(limit, LEASE)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), answer=st.sampled_from([None, *ANSWERS]))
    def answer(self, data: Any, answer: Any) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        result = answer or accepted(claim)
        self.ledger.submissions.record([Submitted(claim.attempt_id, result)], POLL_AFTER)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), word=WORDS, times=st.integers(1, 2))
    def hear(self, data: Any, word: Any, times: int) -> None:
        self.ledger.generations.apply_outcomes([word(data.draw(st.sampled_from(self.claims)))] * times)

    @rule(seconds=st.sampled_from([1, 121, 3600, 43_200]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.ledger.submissions.mark_lost_unconfirmed()

    @precondition(lambda self: self.ids)
    @rule(data=st.data())
    def cancel(self, data: Any) -> None:
        self.ledger.generations.cancel([data.draw(st.sampled_from(self.ids))])

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def a_person_submits_again(self, data: Any) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        state = self.ledger.generations.get([claim.generation.id])[0].state
        if state in {State.FAILED, State.UNCONFIRMED}:
            submit_again(self.ledger, claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), decision=st.sampled_from([Decision.CHARGED, Decision.NOT_CHARGED]))
    def a_person_finds_out(self, data: Any, decision: Decision) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        if self.ledger.generations.get([claim.generation.id])[0].state is State.UNCONFIRMED:
            self.ledger.submissions.resolve([claim.generation.id], decision, Person("somebody"))

    @invariant()
    def no_cap_is_exceeded_and_nothing_is_counted_wrong(self) -> None:
        check(self.ledger)


@pytest.fixture(scope="module", autouse=True)
def one_ledger(migrated_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One file for all examples: emptying it is much quicker than making it."""
    path = shutil.copy(migrated_file, tmp_path_factory.mktemp("money"))
    Money.ledger = Ledger(f"sqlite:///{path}")
    yield
    Money.ledger.close()


@pytest.fixture(scope="module", autouse=True)
def the_same_ids_each_time() -> Iterator[None]:
    """The same example must take the same course, and the random part of an id decides who goes first."""
    with pytest.MonkeyPatch.context() as patch:
        Money.numbers = count()
        for module in ("create", "creation"):
            patch.setattr(
                f"worker.ledger.generations.{module}.new_id", lambda prefix, _: f"{prefix}_{next(Money.numbers):09}"
            )
        yield


TestMoney = Money.TestCase
TestMoney.settings = settings(
    max_examples=examples(40), stateful_step_count=40, suppress_health_check=list(HealthCheck)
)


def test_what_many_do_at_the_same_time_stays_within_every_cap(ledger: Ledger):
    """Dispatchers of two providers, workers, callbacks and a person, all in threads, until nothing can go any more."""
    for name in ("b1", "b2", None):
        for provider in PROVIDERS:
            speeds = ({}, {"speed": "turbo"}, {"speed": "relax"})
            ledger.generations.create([new(provider=provider, options=speed) for speed in speeds * 4], name)

    def dispatcher(provider: str) -> list[Claim]:
        for _ in range(15):
            ledger.dispatch.run(provider, Limits(10_000, 10_000), PRICES[0])
            check_caps(ledger)
        return []

    def worker(seed: int) -> list[Claim]:
        dice = random.Random(seed)
        mine: list[Claim] = []
        for _ in range(25):
            mine += ledger.submissions.claim(3, LEASE)
            for claim in dice.sample(mine, min(3, len(mine))):
                answer = dice.choice([accepted(claim), *ANSWERS])
                ledger.submissions.record([Submitted(claim.attempt_id, answer)], POLL_AFTER)
            said = [dice.choice([success, failure, failure])(claim) for claim in dice.sample(mine, min(4, len(mine)))]
            ledger.generations.apply_outcomes(said)
            check_caps(ledger)
        return mine

    def person() -> list[Claim]:
        for generation in ledger.generations.page(limit=20):
            ledger.generations.cancel([generation.id])
        return []

    def check_caps(ledger: Ledger) -> None:
        with ledger.database.read() as connection:
            today = connection.execute(select(budgets).where(budgets.c.kind == "day")).first()
        assert today is None or today.reserved + today.possible + today.spent <= PRICES[0].caps.day

    everybody = [lambda name=name: dispatcher(name) for name in PROVIDERS * 2]
    everybody += [lambda seed=seed: worker(seed) for seed in range(4)]
    for result in at_once(*everybody, person):
        assert not isinstance(result, Exception), result
    check(ledger)


def test_two_dispatchers_never_look_into_one_budget_at_the_same_moment(
    postgresql_url: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    """Both would see the last of it, and both would take it."""
    ledger = Ledger(postgresql_url, clock)
    prices = Prices(rules=(Rule(price=1),), caps=Caps(day=3))
    ledger.generations.create([new(provider=provider) for provider in PROVIDERS])
    for provider in PROVIDERS:
        ledger.dispatch.run(provider, ROOM, prices)
    ledger.generations.create([new(provider=provider) for provider in PROVIDERS])
    both_have_looked = Barrier(2)
    look = Purse.open

    def slowly(self: Purse, *arguments: Any, **how: Any) -> None:
        look(self, *arguments, **how)
        with suppress(BrokenBarrierError):
            both_have_looked.wait(0.5)

    monkeypatch.setattr(Purse, "open", slowly)
    went = at_once(*(lambda name=name: ledger.dispatch.run(name, ROOM, prices) for name in PROVIDERS))
    assert sorted(went) == [0, 1]
    ledger.close()
