"""Whatever happens in whatever order: all attempts of a generation are at one provider, and its money is there."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.clock import FakeClock
from tests.examples import examples
from tests.factories import LEASE, PLENTY, POLL_AFTER, accepted, new
from tests.worker.ledger.purses import totals
from worker.errors import AccountBlocked, NotTaken, Uncertain
from worker.ledger import Ledger
from worker.ledger.dispatch import ProviderMove
from worker.ledger.schema import attempts, charges, generations
from worker.ledger.submission import Claim, Submitted
from worker.pricing.prices import Caps, Prices, Rule

NAMES = ("acedata", "kie", "mjproxy")
PRICES = Prices(
    rules=tuple(Rule(price=number, provider=name) for number, name in enumerate(NAMES, start=1)),
    caps=Caps(providers={"acedata": 3}),
)
REPLIES = {
    "accepted": None,
    "empty": AccountBlocked("the balance is empty", code="used_up", status=402),
    "refused": NotTaken("unreachable", code="connection_refused"),
    "unclear": Uncertain("no clear answer", code="http_500", status=500),
}
STEPS = st.one_of(
    st.tuples(st.just("dispatch"), st.sampled_from(NAMES)),
    st.tuples(st.just("claim"), st.integers(1, 3)),
    st.tuples(st.just("answer"), st.sampled_from(sorted(REPLIES))),
    st.tuples(st.just("give back"), st.none()),
    st.tuples(st.just("resume"), st.sampled_from(NAMES)),
    st.tuples(st.just("fail over"), st.sampled_from(NAMES)),
    st.tuples(st.just("move all"), st.sampled_from(NAMES)),
)


@pytest.fixture
def ledgers(migrated_file: Path, tmp_path: Path) -> Iterator["Ledgers"]:
    made = Ledgers(migrated_file, tmp_path)
    yield made
    made.close()


class Ledgers:
    """A new one for each example."""

    def __init__(self, migrated: Path, folder: Path) -> None:
        self._migrated, self._folder = migrated, folder
        self._ledger: Ledger | None = None
        self._number = 0

    def fresh(self, clock: FakeClock) -> Ledger:
        self.close()
        self._number += 1
        file = self._folder / f"{self._number}.sqlite3"
        copyfile(self._migrated, file)
        file.chmod(0o600)
        self._ledger = Ledger(f"sqlite:///{file}", clock)
        return self._ledger

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()


class Play:
    def __init__(self, ledger: Ledger, clock: FakeClock) -> None:
        self.ledger, self.clock = ledger, clock
        self.claims: list[Claim] = []
        wanted = [new(f"fox {n}", provider="acedata", providers=("kie", "mjproxy")) for n in range(6)]
        self.ids = [one.id for one in ledger.generations.create(wanted, "animals")]

    def do(self, what: str, with_: str | int | None) -> None:
        self.clock.advance(1)
        match what, with_:
            case "dispatch", str(name):
                self.ledger.dispatch.run(name, PLENTY, PRICES)
            case "claim", int(limit):
                self.claims += self.ledger.submissions.claim(limit, LEASE)
            case "answer", str(kind) if self.claims:
                claim = self.claims.pop()
                self.ledger.submissions.begin(claim.attempt_id)
                result = REPLIES[kind] or accepted(claim)
                self.ledger.submissions.record([Submitted(claim.attempt_id, result)], POLL_AFTER)
            case "give back", _:
                self.ledger.submissions.requeue_unsent()
                self.claims.clear()
            case "resume", str(name):
                self.ledger.dispatch.resume_account(name)
            case "fail over", str(name):
                for held in (True, False):
                    rows = self.ledger.dispatch.movable(name, "", 9, held=held)
                    assert not [row.id for row in rows if row.was_sent]
                    choices = [(row.id, tuple(row.providers or ())) for row in rows]
                    self.move((one, name, rest[0], rest[1:]) for one, rest in choices)
            case "move all", str(name):
                found = {one.id: one.provider for one in self.ledger.generations.get(self.ids)}
                self.move((one, at, name, ()) for one, at in found.items() if at != name)

    def move(self, moves: Iterator[tuple[str, str, str, tuple[str, ...]]]) -> None:
        self.ledger.dispatch.move([
            ProviderMove(generation_id=one, left=left, to=to, providers=rest, why="a test")
            for one, left, to, rest in moves
        ])  # fmt: skip

    def check(self) -> None:
        totals(self.ledger)
        with self.ledger.database.read() as connection:
            at = dict(connection.execute(select(generations.c.id, generations.c.provider)).all())
            sent = connection.execute(select(attempts.c.generation_id, attempts.c.provider)).all()
            paid = connection.execute(select(charges).where(charges.c.state != "released")).all()
        tried = defaultdict(set)
        for row in sent:
            tried[row.generation_id].add(row.provider)
        assert all(names == {at[one]} for one, names in tried.items())
        prices = {rule.provider: rule.price for rule in PRICES.rules}
        assert all((row.provider, row.price) == (at[row.generation_id], prices[row.provider]) for row in paid)
        for one in self.ledger.generations.get(self.ids):
            path = (
                [one.provider_changes[0].left, *(it.to for it in one.provider_changes)] if one.provider_changes else []
            )
            assert path[-1:] in ([], [one.provider])
            assert one.provider not in one.providers


@settings(max_examples=examples(40))
@given(steps=st.lists(STEPS, max_size=25))
def test_a_generation_is_sent_to_one_provider_and_paid_there(
    ledgers: Ledgers, steps: list[tuple[str, str | int | None]]
) -> None:
    clock = FakeClock()
    play = Play(ledgers.fresh(clock), clock)
    for what, with_ in steps:
        play.do(what, with_)
    play.check()
