"""What was never sent goes to another provider, once, and with the money and the place in line of that one."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import chain

import pytest
from sqlalchemy import select, update

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    at_once,
    claimed,
    new,
    one,
    queued,
    resubmit,
    submitted,
)  # fmt: skip
from tests.worker.ledger.purses import held, totals
from worker.errors import AccountBlocked, NotTaken, Uncertain
from worker.generation import ProviderChange, iso
from worker.ledger import Ledger
from worker.ledger.budget import By, Dimension
from worker.ledger.dispatch import LONG, Limits, ProviderMove
from worker.ledger.dispatch.pacing import FAILURES
from worker.ledger.schema import attempts, batches, flows, generations
from worker.ledger.submission import Claim, Submitted
from worker.pricing.prices import Caps, Prices, Rule

OTHER = "kie"
EMPTY = AccountBlocked("the balance is empty", code="used_up", status=402)
SILENT = Uncertain("no clear answer", code="http_500", status=500)
MARKS = {"default": "mark"}


def ids_at(ledger: Ledger, provider: str = PROVIDER) -> list[str]:
    return [row.id for row in ledger.dispatch.movable(provider, "", 1000)]


def move(ledger: Ledger, *ids: str, to: str = OTHER, left: str = PROVIDER, rest: tuple[str, ...] = ()) -> set[str]:
    why = "paused: the balance is empty"
    moves = [ProviderMove(generation_id=name, left=left, to=to, providers=rest, why=why) for name in ids]
    return ledger.dispatch.move(moves)


def go(ledger: Ledger, provider: str, prices: Prices | None = None) -> list[str]:
    """Dispatch and claim; the ids."""
    ledger.dispatch.run(provider, PLENTY, prices)
    return [claim.generation.id for claim in ledger.submissions.claim(1000, LEASE)]


# --- what moves ---


def test_it_waits_in_line_at_the_other_provider_and_remembers_why(ledger: Ledger, clock: FakeClock) -> None:
    (fox,) = queued(ledger, batch="animals", providers=(OTHER, "mjproxy"), priority=3)
    clock.advance(5)
    assert move(ledger, fox.id, rest=("mjproxy",)) == {fox.id}
    moved = one(ledger, fox)
    why = "paused: the balance is empty"
    assert moved.provider_changes == (ProviderChange(left=PROVIDER, to=OTHER, why=why, at=str(iso(clock()))),)
    assert (moved.provider, moved.providers, moved.updated_at) == (OTHER, ("mjproxy",), clock())
    assert go(ledger, PROVIDER) == []
    assert go(ledger, OTHER) == [fox.id]


def test_a_second_change_is_added_to_the_first(ledger: Ledger) -> None:
    (fox,) = queued(ledger, providers=(OTHER, "mjproxy"))
    move(ledger, fox.id, rest=("mjproxy",))
    move(ledger, fox.id, left=OTHER, to="mjproxy")
    assert [(step.left, step.to) for step in one(ledger, fox).provider_changes] == [
        (PROVIDER, OTHER),
        (OTHER, "mjproxy"),
    ]
    assert ids_at(ledger, "mjproxy") == []


def test_it_keeps_its_turn_behind_what_waits_there_of_its_batch(ledger: Ledger) -> None:
    made = ledger.generations.create([new(str(n), provider=(PROVIDER, OTHER)[n % 2]) for n in range(4)], "mixed")
    move(ledger, made[0].id, made[2].id)
    assert go(ledger, OTHER) == [made[n].id for n in (0, 1, 2, 3)]


def test_choices_that_are_impossible_are_dropped_without_a_change_of_provider(ledger: Ledger) -> None:
    (fox,) = queued(ledger, providers=(OTHER,))
    assert move(ledger, fox.id, to=PROVIDER) == {fox.id}
    assert (one(ledger, fox).providers, one(ledger, fox).provider_changes) == ((), ())
    assert ids_at(ledger) == []


# --- what never moves ---


def nothing(ledger: Ledger, claim: Claim) -> None: ...


def not_taken(ledger: Ledger, claim: Claim) -> None:
    refused = NotTaken("the queue is full", code="queue_full", status=200)
    ledger.submissions.record([Submitted(claim.attempt_id, refused)], POLL_AFTER)


def unclear(ledger: Ledger, claim: Claim) -> None:
    ledger.submissions.record([Submitted(claim.attempt_id, SILENT)], POLL_AFTER)


def unclear_and_submitted_again(ledger: Ledger, claim: Claim) -> None:
    unclear(ledger, claim)
    resubmit(ledger, claim)


def given_back_unsent(ledger: Ledger, claim: Claim) -> None:
    ledger.submissions.requeue_unsent()


@pytest.mark.parametrize("then", [nothing, not_taken, unclear, unclear_and_submitted_again, given_back_unsent])
def test_one_with_an_attempt_never_moves(ledger: Ledger, then: Callable[[Ledger, Claim], None]) -> None:
    (claim,) = claimed(ledger, providers=(OTHER,))
    then(ledger, claim)
    assert ids_at(ledger) == []
    assert move(ledger, claim.generation.id) == set()
    assert one(ledger, claim).provider == PROVIDER


def test_one_of_which_only_an_attempt_tells_that_it_was_sent_does_not_move(ledger: Ledger) -> None:
    (claim,) = claimed(ledger)
    with ledger.database.write() as connection:
        row = {"state": "queued", "dispatched_at": None, "tries": 0, "providers": [OTHER]}
        connection.execute(update(generations).values(row))
        assert connection.execute(select(attempts.c.id)).all()
    assert ids_at(ledger) == []
    assert move(ledger, claim.generation.id) == set()


def test_a_dispatched_one_does_not_move_until_it_is_called_back(ledger: Ledger) -> None:
    first, second = queued(ledger, 2, providers=(OTHER,))
    ledger.dispatch.run(PROVIDER, PLENTY)
    (claim,) = ledger.submissions.claim(1, LEASE)
    assert move(ledger, first.id, second.id) == set()
    # It stops the account, so what no worker has claimed yet comes back.
    ledger.submissions.record([Submitted(claim.attempt_id, EMPTY)], POLL_AFTER)
    assert ids_at(ledger) == [second.id]
    assert move(ledger, first.id, second.id) == {second.id}


def test_a_follow_up_stays_with_its_parent(ledger: Ledger) -> None:
    (parent,) = submitted(ledger)
    child = new(parent_id=parent.generation.id, action="upscale1", providers=(OTHER,))
    (made,) = ledger.generations.create([replace(child, request=replace(child.request, parent={"image_id": "i"}))])
    assert ids_at(ledger) == []
    assert move(ledger, made.id) == set()


@pytest.mark.parametrize(
    "stop",
    [{"paused_at": NOON}, {"start_at": NOON + timedelta(hours=1)}, {"unfinished_at": NOON}],
    ids=["paused", "not started", "unfinished"],
)
def test_what_a_person_has_stopped_or_still_writes_is_left_alone(ledger: Ledger, stop: dict[str, object]) -> None:
    (fox,) = queued(ledger, batch="animals", providers=(OTHER,))
    (single,) = queued(ledger, providers=(OTHER,))
    with ledger.database.write() as connection:
        connection.execute(update(batches).values(stop))
    assert ids_at(ledger) == [single.id]
    with ledger.database.write() as connection:
        connection.execute(update(batches).values(dict.fromkeys(stop)))
    assert ids_at(ledger) == sorted([fox.id, single.id])


def test_nothing_moves_while_a_restored_ledger_may_have_forgotten_what_it_sent(ledger: Ledger) -> None:
    (fox,) = queued(ledger, providers=(OTHER,))
    marker = ledger.restore.verify_marker(None)
    assert marker is not None
    ledger.restore.verify_marker(replace(marker, number=marker.number + 9))
    assert move(ledger, fox.id) == set()


def test_what_moved_already_moves_no_second_time(ledger: Ledger) -> None:
    (fox,) = queued(ledger, providers=(OTHER, "mjproxy"))
    assert move(ledger, fox.id) == {fox.id}
    assert move(ledger, fox.id, to="mjproxy") == set()


def test_only_providers_with_something_to_move_are_looked_at(ledger: Ledger) -> None:
    assert ledger.dispatch.providers_failing_over() == []
    queued(ledger, 2, providers=(OTHER,))
    queued(ledger, 1, provider="mjproxy", providers=(OTHER,))
    queued(ledger, 1, provider="ohmygpt")
    assert ledger.dispatch.providers_failing_over() == [PROVIDER, "mjproxy"]


# --- money ---


def test_price_and_budget_are_those_of_the_new_provider(ledger: Ledger) -> None:
    rules = (Rule(price=5, provider=PROVIDER), Rule(price=2, provider=OTHER))
    prices = Prices(rules=rules, caps=Caps(providers={PROVIDER: 5}))
    first, second = queued(ledger, 2, batch="animals", providers=(OTHER,))
    assert go(ledger, PROVIDER, prices) == [first.id]
    assert held(ledger) == [second.id]
    (row,) = ledger.dispatch.movable(PROVIDER, "", 9, held=True)
    assert (row.id, row.price, row.held_prices) == (second.id, 5, prices.digest)
    move(ledger, second.id)
    assert held(ledger) == []
    moved = one(ledger, second)
    assert (moved.reason, moved.message) == (None, None)
    assert go(ledger, OTHER, prices) == [second.id]
    assert totals(ledger) == {"reserved": 7}
    spent = {row.name: row.total for row in ledger.budgets.totals((Dimension(By.PROVIDER),), NOON.date())}
    assert spent == {PROVIDER: 5, OTHER: 2}


def test_what_was_reserved_and_given_back_is_reserved_at_the_new_provider(ledger: Ledger) -> None:
    prices = Prices(rules=(Rule(price=5),), caps=Caps(day=100))
    queued(ledger, 2, batch="animals", providers=(OTHER,))
    ledger.dispatch.run(PROVIDER, PLENTY, prices)
    (claim,) = ledger.submissions.claim(1, LEASE)
    ledger.submissions.record([Submitted(claim.attempt_id, EMPTY)], POLL_AFTER)
    (left,) = ids_at(ledger)
    move(ledger, left)
    assert totals(ledger) == {"released": 10}
    assert go(ledger, OTHER, prices) == [left]
    assert totals(ledger) == {"released": 5, "reserved": 5}
    spent = {row.name: row.reserved for row in ledger.budgets.totals((Dimension(By.PROVIDER),), NOON.date())}
    assert spent[OTHER] == 5


# --- accounts ---


def answered(ledger: Ledger, *results: Exception) -> None:
    claims = claimed(ledger, len(results))
    ledger.submissions.record(
        [Submitted(claim.attempt_id, result) for claim, result in zip(claims, results, strict=True)], POLL_AFTER
    )


def stopped(ledger: Ledger, marks: dict[str, str] = MARKS) -> dict[str, str]:
    return ledger.dispatch.stopped_accounts(PROVIDER, marks)


def test_an_empty_account_is_stopped_at_once_and_until_its_pause_ends(ledger: Ledger, clock: FakeClock) -> None:
    answered(ledger, EMPTY)
    assert stopped(ledger) == {"default": f"paused: {EMPTY}"}
    clock.advance(minutes=14)
    assert stopped(ledger)
    clock.advance(minutes=2)
    assert stopped(ledger) == {}


def test_another_key_ends_it(ledger: Ledger, clock: FakeClock) -> None:
    refused = AccountBlocked("the key is wrong", code="401", status=401)
    refused.key_mark = "mark"
    answered(ledger, refused)
    clock.advance(minutes=2)
    assert stopped(ledger)
    assert stopped(ledger, {"default": "another"}) == {}


@pytest.mark.parametrize("seconds", [None, 1, LONG.total_seconds() - 1])
def test_too_many_requests_stop_nothing(ledger: Ledger, seconds: float | None) -> None:
    wait = timedelta(seconds=seconds) if seconds else None
    answered(ledger, *[NotTaken("slower", code="busy", status=429, retry_after=wait)] * 9)
    assert stopped(ledger) == {}


def test_a_provider_that_asks_for_minutes_is_stopped(ledger: Ledger) -> None:
    answered(ledger, NotTaken("closed", code="busy", status=429, retry_after=LONG))
    assert stopped(ledger)


def test_an_empty_token_bucket_stops_nothing(ledger: Ledger) -> None:
    queued(ledger, 9)
    ledger.dispatch.run(PROVIDER, Limits(rate=1, in_flight=1))
    assert stopped(ledger) == {}


def test_a_breaker_counts_once_it_was_open_for_a_minute_and_not_while_it_is_probed(
    ledger: Ledger, clock: FakeClock
) -> None:
    answered(ledger, *[NotTaken("unreachable", code="connection_refused")] * FAILURES)
    assert stopped(ledger) == {}
    clock.advance(31)
    ledger.dispatch.run(PROVIDER, PLENTY)
    (probe,) = ledger.submissions.claim(9, LEASE)
    clock.advance(30)
    # It may be well again.
    assert stopped(ledger) == {}
    ledger.submissions.record([Submitted(probe.attempt_id, SILENT)], POLL_AFTER)
    assert stopped(ledger) == {"default": f"circuit open after {FAILURES + 1} failures in a row"}
    clock.advance(minutes=30)
    # Nobody has tried it for long.
    assert stopped(ledger) == {}


# --- at once ---


def test_none_is_sent_by_both_however_moves_and_dispatches_meet(postgresql_url: str, clock: FakeClock) -> None:
    ledgers = [Ledger(postgresql_url, clock) for _ in range(4)]
    here, *_ = ledgers
    try:
        made = here.generations.create([new(f"fox {n}", providers=(OTHER,)) for n in range(120)], "animals")
        ids = [one.id for one in made]
        moved: set[str] = set()
        for _ in range(12):
            calls = [
                partial(ledgers[0].dispatch.run, PROVIDER, Limits(rate=10_000, in_flight=10_000)),
                partial(ledgers[1].dispatch.run, OTHER, Limits(rate=10_000, in_flight=10_000)),
                partial(move, ledgers[2], *ids[::2]),
                partial(move, ledgers[3], *reversed(ids)),
            ]
            done = at_once(*calls)
            assert not [one for one in done if isinstance(one, Exception)], done
            first, second = done[2], done[3]
            assert isinstance(first, set)
            assert isinstance(second, set)
            assert not first & second
            assert not moved & (first | second)
            moved |= first | second
        claims = list(chain.from_iterable(iter(lambda: here.submissions.claim(50, LEASE), [])))
        assert Counter(claim.generation.id for claim in claims) == Counter(ids)
        for claim in claims:
            assert claim.generation.provider == (OTHER if claim.generation.id in moved else PROVIDER)
    finally:
        for ledger in ledgers:
            ledger.close()


def test_the_flow_at_the_new_provider_is_in_the_line_and_the_old_one_goes(ledger: Ledger) -> None:
    made = queued(ledger, 3, batch="animals", providers=(OTHER,))
    move(ledger, *(one.id for one in made))
    go(ledger, PROVIDER)
    with ledger.database.read() as connection:
        found = connection.execute(select(flows.c.provider, flows.c.flow)).all()
    assert found == [(OTHER, made[0].batch_id)]
