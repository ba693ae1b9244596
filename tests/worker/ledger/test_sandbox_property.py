"""Whatever happens in whatever order: a test goes to the sandbox alone, and nothing else goes there, or costs less."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.clock import FakeClock
from tests.examples import examples
from tests.factories import LEASE, PLENTY, POLL_AFTER, accepted, all_stored, failure, new, success
from tests.worker.ledger.purses import totals
from worker.errors import AccountBlocked, NotTaken, Uncertain
from worker.generation import GenerationRequest, Operation, State
from worker.ledger import Ledger
from worker.ledger.changes import Person
from worker.ledger.dispatch import ProviderMove
from worker.ledger.generations import NewGeneration, Orphan
from worker.ledger.schema import attempts, charges, flows, generations
from worker.ledger.submission import Claim, Decision, Submitted
from worker.pricing.prices import Caps, Prices, Rule
from worker.secrets import SANDBOX_ACCOUNT

NAMES = ("acedata", "kie")
PRICES = Prices(
    rules=tuple(Rule(price=1, provider=name) for name in NAMES),
    caps=Caps(providers={"acedata": 4}),
)
#: the accounts that the settings name at that moment
ACCOUNTS = (("default",), ("studio", "shop"))
REPLIES = {
    "accepted": None,
    "empty": AccountBlocked("the balance is empty", code="used_up", status=402),
    "refused": NotTaken("unreachable", code="connection_refused"),
    "unclear": Uncertain("no clear answer", code="http_500", status=500),
}
STEPS = st.one_of(
    st.tuples(st.just("create"), st.booleans()),
    st.tuples(st.just("dispatch"), st.sampled_from([(*one, priced) for one in ACCOUNTS for priced in (True, False)])),
    st.tuples(st.just("dispatch tests"), st.none()),
    st.tuples(st.just("claim"), st.integers(1, 4)),
    st.tuples(st.just("answer"), st.sampled_from(sorted(REPLIES))),
    st.tuples(st.just("end"), st.booleans()),
    st.tuples(st.just("follow"), st.booleans()),
    st.tuples(st.just("give back"), st.none()),
    st.tuples(st.just("resubmit"), st.none()),
    st.tuples(st.just("retry"), st.none()),
    st.tuples(st.just("fail over"), st.none()),
    st.tuples(st.just("move all"), st.sampled_from(NAMES)),
    st.tuples(st.just("import"), st.integers(0, 5)),
)
BEGINNING = (
    ("dispatch", ("default", True)),
    ("dispatch tests", None),
    ("claim", 12),
    *(("answer", kind) for kind in ("accepted", "accepted", "unclear", "accepted", "accepted", "unclear")),
    *(("end", is_well) for is_well in (True, False, True, False)),
)


@pytest.fixture
def shared(ledger: Ledger) -> Iterator[Ledger]:
    """One ledger for all examples: each tells its own generations by their ids."""
    return ledger


class Play:
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.clock: FakeClock = ledger.database.clock
        #: what was asked for: id → whether it is a test
        self.asked: dict[str, bool] = {}
        self.claims: list[Claim] = []
        self.accepted: list[Claim] = []
        for is_test in (True, False):
            self.do("create", is_test)
        # Something of each in every state.
        for step in (*BEGINNING, ("create", True), ("create", False)):
            self.do(*step)

    def do(self, what: str, with_: object) -> None:
        self.clock.advance(1)
        ledger = self.ledger
        match what, with_:
            case "create", bool(is_test):
                wanted = [
                    # The same keys for both.
                    new(f"fox {n}", key=f"fox {n} of {id(self)}", provider=name, providers=NAMES[1:], is_test=is_test)
                    for n, name in enumerate(NAMES * 2)
                ]
                self.note(ledger.generations.create(wanted, "foxes"), is_test)
            case "dispatch", (*accounts, bool(is_priced)):
                for name in NAMES:
                    ledger.dispatch.run(name, PLENTY, PRICES if is_priced else None, accounts)
            case "dispatch tests", _:
                for name in NAMES:
                    ledger.dispatch.run_tests(name, PLENTY)
            case "claim", int(limit):
                self.claims += ledger.submissions.claim(limit, LEASE)
            case "answer", str(kind) if self.claims:
                claim = self.claims.pop()
                ledger.submissions.begin(claim.attempt_id)
                result = REPLIES[kind] or accepted(claim)
                ledger.submissions.record([Submitted(claim.attempt_id, result)], POLL_AFTER)
                self.accepted += [claim] if kind == "accepted" else []
            case "end", bool(is_well) if self.accepted:
                claim = self.accepted.pop(0)
                ledger.generations.apply_outcomes([success(claim) if is_well else failure(claim)])
                ledger.assets.record([all_stored(one) for one in ledger.assets.claim(9, LEASE)])
            case "follow", bool(names_task):
                for parent in self.in_state(State.ARCHIVED)[:2]:
                    handle = {"image_id": "i1"} if names_task else {}
                    request = GenerationRequest(
                        operation=Operation.UPSCALE, prompt="", action="upscale1", parent=handle
                    )
                    child = NewGeneration(provider=parent.provider, request=request, parent_id=parent.id, depth=1)
                    # Whoever makes it need not know.
                    self.note(ledger.generations.create([child]), self.asked[parent.id])
            case "give back", _:
                ledger.submissions.requeue_unsent()
                self.claims.clear()
            case "resubmit", _:
                unclear = [one.id for one in self.in_state(State.UNCONFIRMED)]
                ledger.submissions.resolve(unclear, Decision.RESUBMIT, Person("somebody"))
            case "retry", _:
                failed = [one.id for one in self.in_state(State.FAILED)]
                ledger.generations.retry(failed, may_pay_twice=True)
            case "fail over", _:
                for name in NAMES:
                    rows = [row for held in (True, False) for row in ledger.dispatch.movable(name, "", 99, held=held)]
                    self.move((row.id, name, other) for row in rows for other in NAMES if other != name)
            case "move all", str(name):
                self.move((one.id, one.provider, name) for one in self.all() if one.provider != name)
            case "import", int(number):
                # A list of the provider shows tasks with marks of ours, and others; also of what is queued here.
                sent = [claim.attempt_id for claim in (*self.claims, *self.accepted)][:number]
                queued = sorted(one.id for one in self.in_state(State.QUEUED))
                for name in NAMES:
                    tasks = [self.orphan(f"{name}-{one}-{len(self.asked)}", one) for one in (*sent, None)]
                    waiting = dict(zip((task.task_id for task in tasks), [*queued[number:], *queued], strict=False))
                    placed = ledger.generations.import_tasks(name, tasks, "default", waiting, PRICES)
                    # No provider has made a test.
                    assert not [one for one in placed if self.asked.get(str(one.generation_id))]
                    self.asked |= {
                        str(one.generation_id): False for one in placed if one.generation_id not in self.asked
                    }

    def orphan(self, task_id: str, attempt_id: str | None) -> Orphan:
        request = GenerationRequest(operation=Operation.IMAGINE, prompt="fox")
        return Orphan(
            task_id=task_id, request=request, created_at=self.clock() - timedelta(hours=9), attempt_id=attempt_id,
            marked=attempt_id is not None,
        )  # fmt: skip

    def note(self, made: list, is_test: bool) -> None:
        for one in made:
            assert self.asked.setdefault(one.id, is_test) == is_test

    def all(self) -> list:
        return self.ledger.generations.get(sorted(self.asked))

    def in_state(self, state: State) -> list:
        return [one for one in self.all() if one.state is state]

    def move(self, moves: Iterator[tuple[str, str, str]]) -> None:
        self.ledger.dispatch.move([
            ProviderMove(generation_id=one, left=left, to=to, providers=(), why="a test") for one, left, to in moves
        ])  # fmt: skip

    def check(self) -> None:
        totals(self.ledger)
        with self.ledger.database.read() as connection:
            rows = connection.execute(select(generations)).all()
            sent = connection.execute(select(attempts.c.generation_id, attempts.c.account)).all()
            paid = set(connection.execute(select(charges.c.generation_id)).scalars())
            lines = connection.execute(select(flows.c.pinned, flows.c.provider)).all()
        mine = [row for row in rows if row.id in self.asked]
        tests = {one for one, is_test in self.asked.items() if is_test}
        assert {row.id for row in mine if row.pinned == SANDBOX_ACCOUNT} == tests
        assert {row.id for row in mine if row.account == SANDBOX_ACCOUNT} <= tests
        for row in sent:
            if row.generation_id in self.asked:
                assert (row.account == SANDBOX_ACCOUNT) == self.asked[row.generation_id]
        assert not paid & tests
        assert not [row.id for row in mine if row.id in tests and (row.price is not None or row.held is not None)]
        assert not [row.id for row in mine if row.id in tests and row.provider_changes]
        assert {pinned for pinned, _ in lines} <= {"", "default", "studio", "shop", SANDBOX_ACCOUNT}


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=30))
def test_a_test_reaches_only_the_sandbox_and_nothing_else_does(shared: Ledger, steps: list[tuple[str, object]]) -> None:
    play = Play(shared)
    for what, with_ in steps:
        play.do(what, with_)
        for claim in play.claims:
            assert (claim.account == SANDBOX_ACCOUNT) == play.asked[claim.generation.id] == claim.generation.is_test
    play.check()
    shared.submissions.requeue_unsent()
    rest = [one.id for one in play.all() if one.state is State.QUEUED]
    shared.generations.cancel(rest)
