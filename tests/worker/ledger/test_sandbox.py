"""Tests in the ledger: generations that only the sandbox may make, and that cost nothing."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import select, update

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    archived,
    ask,
    claimed,
    new,
    one,
    queued,
    success,
)
from worker.errors import RequestInvalid, Uncertain
from worker.generation import GenerationRequest, Operation, State
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.generations import FileBatch, NewGeneration, Orphan, Place
from worker.ledger.schema import api_tokens, budgets, charges, durations, flows, generations, provider_limits
from worker.ledger.submission import Claim, Submitted
from worker.pricing.prices import Caps, Prices, Rule
from worker.secrets import SANDBOX_ACCOUNT, read_keys, title_of

pytestmark = pytest.mark.matrix

ORPHAN = Orphan(
    task_id="t1",
    request=GenerationRequest(operation=Operation.IMAGINE, prompt="a red fox"),
    created_at=NOON,
    attempt_id=None,
    marked=False,
)


def claimed_tests(ledger: Ledger, count: int = 1, **facts: object) -> list[Claim]:
    ledger.generations.create([new(f"fox {number}", is_test=True, **facts) for number in range(count)])
    assert ledger.dispatch.run_tests(PROVIDER, PLENTY) == count
    return ledger.submissions.claim(count, LEASE)


def accept(ledger: Ledger, *claims: Claim) -> None:
    ledger.submissions.record([Submitted(one.attempt_id, accepted(one)) for one in claims], POLL_AFTER)


def test_no_key_can_be_named_like_the_sandbox() -> None:
    assert list(read_keys(f"{SANDBOX_ACCOUNT}:secret")) == ["default"]
    with pytest.raises(ValueError, match="key 1 of 2 has no name"):
        read_keys(f"{SANDBOX_ACCOUNT}:secret,shop:other")
    assert title_of("kie", SANDBOX_ACCOUNT) == "the sandbox of kie"


def test_the_line_of_the_sandbox_and_the_line_of_a_provider_are_two(ledger: Ledger) -> None:
    queued(ledger, 2)
    queued(ledger, 3, is_test=True)
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 2
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    assert ledger.dispatch.run_tests(PROVIDER, PLENTY) == 3
    claims = ledger.submissions.claim(9, LEASE)
    assert sorted((claim.account, claim.generation.is_test) for claim in claims) == [
        *[(SANDBOX_ACCOUNT, True)] * 3,
        *[("default", False)] * 2,
    ]


def test_the_sandbox_has_room_of_its_own(ledger: Ledger) -> None:
    queued(ledger, 3)
    queued(ledger, 3, is_test=True)
    narrow = Limits(rate=1, in_flight=1)
    assert ledger.dispatch.run(PROVIDER, narrow) == 1
    assert ledger.dispatch.run_tests(PROVIDER, narrow) == 1
    assert ledger.dispatch.run(PROVIDER, narrow) == ledger.dispatch.run_tests(PROVIDER, narrow) == 0


def test_the_sandbox_is_never_an_account_of_a_provider(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="use run_tests"):
        ledger.dispatch.run(PROVIDER, PLENTY, accounts=("default", SANDBOX_ACCOUNT))


def test_a_claim_of_a_test_is_for_the_sandbox_whatever_its_row_says(ledger: Ledger) -> None:
    (test,) = queued(ledger, is_test=True)
    ledger.dispatch.run_tests(PROVIDER, PLENTY)
    with ledger.database.write() as connection:
        connection.execute(update(generations).where(generations.c.id == test.id).values(account=None))
    (claim,) = ledger.submissions.claim(1, LEASE)
    assert claim.account == SANDBOX_ACCOUNT


def test_a_test_reserves_nothing_and_no_budget_holds_it(ledger: Ledger) -> None:
    prices = Prices(rules=(Rule(price=1_000_000),), caps=Caps(day=1_000_000))
    queued(ledger, 2)
    ledger.dispatch.run(PROVIDER, PLENTY, prices)
    ledger.submissions.claim(1, LEASE)
    (claim, *_) = tests = claimed_tests(ledger, 3)
    accept(ledger, *tests)
    ledger.generations.apply_outcomes([success(claim)])
    with ledger.database.read() as connection:
        paid = set(connection.execute(select(charges.c.generation_id)).scalars())
        used = connection.execute(select(budgets.c.reserved, budgets.c.spent)).all()
        held = connection.execute(select(generations.c.id).where(generations.c.held.is_not(None))).all()
        digest = connection.execute(select(provider_limits.c.prices)).scalar_one()
    assert not paid & {one.generation.id for one in tests}
    assert {tuple(row) for row in used} == {(1_000_000, 0)}
    # And what a budget holds is no business of the sandbox.
    assert (len(held), digest) == (1, prices.digest)
    free: Prices = replace(prices, rules=())
    assert ledger.budgets.unpriced(free, date(2000, 1, 1)) == []
    assert ledger.budgets.price_now(prices, date(2000, 1, 1)) == (0, 0)


def test_a_key_belongs_to_a_test_and_to_another_generation(ledger: Ledger) -> None:
    (real,) = ledger.generations.create([new(key="sku-1")])
    (test,) = ledger.generations.create([new(key="sku-1", is_test=True)])
    assert (real.is_test, test.is_test, real.id == test.id) == (False, True, False)
    assert ledger.generations.create([new(key="sku-1")]) == [real]
    assert ledger.generations.create([new(key="sku-1", is_test=True)]) == [one(ledger, test.id)]
    ledger.generations.create([new(key="sku-1", is_test=True), new(key="sku-2", is_test=True)], "another")
    with pytest.raises(RequestInvalid, match="already belongs to"):
        ledger.generations.create([new("a blue fox", key="sku-1", is_test=True)])


def test_a_key_that_looks_like_the_key_of_a_test_is_none(ledger: Ledger) -> None:
    """Keys of users have a beginning of their own."""
    (test,) = ledger.generations.create([new(key="sku-1", is_test=True)])
    (real,) = ledger.generations.create([new(key="test:key:sku-1")])
    assert real.id != test.id


def test_a_batch_of_a_file_can_be_one_of_tests(ledger: Ledger) -> None:
    rows = [new(f"fox {n}", key=str(n), dedupe=f"batch:shop:{n}", row_number=n, is_test=True) for n in (1, 2)]
    written = ledger.generations.write_rows(FileBatch(name="shop (test)", source="f", source_sha256="1"), rows)
    assert all(one(ledger, generation_id).is_test for generation_id in written.created)
    assert ledger.generations.batch_facts(written.batch_id).is_test
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    assert ledger.dispatch.run_tests(PROVIDER, PLENTY) == 2


@pytest.mark.parametrize("handle", [{}, {"image_id": "i1"}])
def test_what_follows_a_test_is_one_and_no_test_follows_anything_else(ledger: Ledger, handle: dict[str, str]) -> None:
    (real,) = archived(ledger)
    (claim,) = claimed_tests(ledger)
    request = GenerationRequest(operation=Operation.UPSCALE, prompt="", action="upscale1", parent=handle)
    child = NewGeneration(provider=PROVIDER, request=request, parent_id=claim.generation.id, depth=1)
    (made,) = ledger.generations.create([child])
    assert made.is_test
    with pytest.raises(RequestInvalid, match="is not a test: a test can only continue from another test"):
        ledger.generations.create([replace(child, parent_id=real, is_test=True)])


def test_the_list_of_a_provider_shows_no_test(ledger: Ledger) -> None:
    (test,) = claimed_tests(ledger)
    (paid,) = claimed(ledger)
    marked = [
        replace(ORPHAN, task_id=f"t{n}", attempt_id=claim.attempt_id, marked=True)
        for n, claim in enumerate((test, paid))
    ]
    for account, theirs, others in (("default", paid, test), (SANDBOX_ACCOUNT, test, paid)):
        placed = ledger.generations.match_tasks(PROVIDER, marked, account)
        found = {one.generation_id for one in placed if one.place is Place.MARKED}
        assert found == {theirs.generation.id}
        assert others.generation.id not in found


def test_no_task_of_a_provider_is_taken_for_a_test(ledger: Ledger) -> None:
    (test,) = queued(ledger, is_test=True)
    (placed,) = ledger.generations.import_tasks(PROVIDER, [ORPHAN], waiting={"t1": test.id})
    assert placed.generation_id != test.id
    assert one(ledger, test.id).state is State.QUEUED


def test_an_unclear_test_is_not_among_the_tasks_of_a_provider(ledger: Ledger) -> None:
    (test,) = claimed_tests(ledger)
    ledger.submissions.record([Submitted(test.attempt_id, Uncertain("no answer", code="http_500"))], POLL_AFTER)
    (placed,) = ledger.generations.match_tasks(PROVIDER, [ORPHAN])
    assert placed.place is Place.NEW
    assert ledger.generations.known_tasks(PROVIDER, "default", [], []).without_task == ()
    (known,) = ledger.generations.known_tasks(PROVIDER, SANDBOX_ACCOUNT, [], []).without_task
    assert known.generation.id == test.generation.id


def test_a_test_is_polled_soon_and_teaches_nothing_of_its_provider(ledger: Ledger, clock: FakeClock) -> None:
    """The sandbox does not call back."""
    claims = claimed_tests(ledger, 6)
    accept(ledger, *claims)
    clock.advance(2)
    assert [silent.account for silent in ask(ledger)] == [SANDBOX_ACCOUNT] * 6
    ledger.generations.apply_outcomes([success(claim) for claim in claims])
    with ledger.database.read() as connection:
        assert connection.execute(select(durations.c.provider)).all() == []


def test_only_providers_with_queued_tests_are_looked_at(ledger: Ledger, clock: FakeClock) -> None:
    names = (PROVIDER, "kie")
    # What nobody has queued is looked for once a minute.
    assert ledger.dispatch.providers_with_tests(names) == list(names)
    queued(ledger)
    assert ledger.dispatch.providers_with_tests(names) == []
    assert not ledger.dispatch.has_open_tests(names)
    queued(ledger, is_test=True)
    assert ledger.dispatch.providers_with_tests(names) == [PROVIDER]
    assert ledger.dispatch.has_open_tests(names)
    clock.advance(61)
    assert ledger.dispatch.providers_with_tests(names) == list(names)


def test_a_test_that_nobody_has_queued_is_found(ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger, is_test=True)
    with ledger.database.write() as connection:
        connection.execute(flows.delete())
    clock.advance(61)
    (name,) = ledger.dispatch.providers_with_tests((PROVIDER,))
    assert ledger.dispatch.run_tests(name, PLENTY) == 1


def test_a_test_is_open_until_it_ends(ledger: Ledger, clock: FakeClock) -> None:
    (claim,) = claimed_tests(ledger)
    accept(ledger, claim)
    clock.advance(timedelta(days=1).total_seconds())
    assert ledger.dispatch.has_open_tests((PROVIDER,))
    ledger.generations.apply_outcomes([success(claim)])
    assert not ledger.dispatch.has_open_tests((PROVIDER,))


def test_a_token_for_tests_is_known_while_it_is_valid(ledger: Ledger, clock: FakeClock) -> None:
    def make(name: str, **facts: object) -> None:
        row = {"name": name, "sha256": name, "hint": "dk_", "scopes": [], "is_test": True, "created_by": "me"}
        with ledger.database.write() as connection:
            connection.execute(api_tokens.insert().values({"id": name, "created_at": clock(), **row, **facts}))

    make("real", is_test=False)
    make("revoked", revoked_at=clock())
    make("over", expires_at=clock())
    assert not ledger.access.has_test_token()
    make("mine", expires_at=clock() + timedelta(hours=1))
    assert ledger.access.has_test_token()
