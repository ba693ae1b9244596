"""Several accounts of one provider: who gets what, and what each answer does to the pace of its account."""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    archived,
    at_once,
    events_of,
    flat,
    new,
    one,
    queued,
    state_of,
    success,
)  # fmt: skip
from worker.errors import AccountBlocked, NotTaken, ProviderError, Rejected, Uncertain
from worker.generation import Accepted, Outcome, State, Status, iso
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.generations import Orphan
from worker.ledger.submission import Claim, Submitted

pytestmark = pytest.mark.matrix

BOTH = ("studio", "shop")
SILENT = Uncertain("no clear answer", code="http_500", status=500)
REFUSED = NotTaken("is unreachable", code="connection_refused")
EMPTY = AccountBlocked("the balance is empty", code="used_up", status=402)


def too_many(seconds: float) -> NotTaken:
    return NotTaken("slower", code="busy", status=429, retry_after=timedelta(seconds=seconds))


def go(ledger: Ledger, limits: Limits = PLENTY, accounts: tuple[str, ...] = BOTH) -> Counter[str]:
    """Dispatch and claim; how many went to each account."""
    return Counter(claim.account for claim in going(ledger, limits, accounts))


def going(ledger: Ledger, limits: Limits = PLENTY, accounts: tuple[str, ...] = BOTH) -> list[Claim]:
    went = ledger.dispatch.run(PROVIDER, limits, None, accounts)
    claims = ledger.submissions.claim(1000, LEASE)
    assert len(claims) == went
    return claims


def answer(ledger: Ledger, claims: list[Claim], result: Accepted | ProviderError | None = None) -> None:
    results = [Submitted(one.attempt_id, result or accepted(one)) for one in claims]
    ledger.submissions.record(results, POLL_AFTER)


def follow_ups(ledger: Ledger, parent: str, count: int = 1) -> list[str]:
    """That name a task of their parent."""
    child = new(parent_id=parent)
    wanted = replace(child, request=replace(child.request, parent={"image_id": "i"}))
    return [made.id for made in ledger.generations.create([wanted] * count)]


def told(ledger: Ledger, kind: str) -> list[dict[str, Any]]:
    with ledger.database.read() as connection:
        rows = connection.exec_driver_sql(f"SELECT payload FROM events WHERE type = '{kind}' ORDER BY id").scalars()
        return [json.loads(row) for row in rows]


# --- who gets what ---


def test_each_account_has_rate_and_room_of_its_own(ledger: Ledger) -> None:
    queued(ledger, 20)
    assert go(ledger, Limits(rate=3, in_flight=100)) == {"studio": 3, "shop": 3}
    queued(ledger, 20, provider="kie")
    assert ledger.dispatch.run("kie", Limits(rate=100, in_flight=4), None, BOTH) == 8


def test_the_account_with_more_room_gets_more(ledger: Ledger) -> None:
    queued(ledger, 4)
    assert go(ledger, PLENTY, ("studio",)) == {"studio": 4}
    queued(ledger, 10)
    assert go(ledger, Limits(rate=10_000, in_flight=6)) == {"studio": 2, "shop": 6}


def test_a_follow_up_goes_to_the_account_that_has_its_parent_and_to_no_other(ledger: Ledger) -> None:
    queued(ledger)
    (claim,) = going(ledger, accounts=("shop",))
    answer(ledger, [claim], Accepted("task-of-the-parent"))
    ledger.generations.apply_outcomes([success(claim, task_id="task-of-the-parent")])
    child, other = follow_ups(ledger, claim.generation.id, 2)
    assert go(ledger, accounts=("studio",)) == {}
    assert {claim.generation.id: claim.account for claim in going(ledger)} == {child: "shop", other: "shop"}


def test_one_that_failed_at_an_account_may_go_to_another_unless_it_is_pinned(ledger: Ledger, clock: FakeClock) -> None:
    (parent,) = archived(ledger)
    (pinned,) = follow_ups(ledger, parent)
    (free,) = queued(ledger)
    answer(ledger, going(ledger, accounts=("default",)), EMPTY)
    assert one(ledger, free).account is None
    assert [claim.generation.id for claim in going(ledger, accounts=("default", "shop"))] == [free.id]
    assert state_of(ledger, pinned) is State.QUEUED
    clock.advance(minutes=15)
    assert [claim.generation.id for claim in going(ledger, accounts=("default", "shop"))] == [pinned]


def test_those_pinned_to_a_paused_account_hold_up_nobody_and_are_not_read(sqlite_url: str, clock: FakeClock) -> None:
    """Counted in steps of SQLite's machine, which do not depend on how busy this one is."""
    ledger = Ledger(sqlite_url, clock)
    steps = 0

    def tick() -> int:
        nonlocal steps
        steps += 1
        return 0

    event.listen(ledger.database.engine, "checkout", lambda connection, *_: connection.set_progress_handler(tick, 10))

    def cost_of_one() -> int:
        (free,) = queued(ledger, priority=-9)
        before = steps
        assert ledger.dispatch.run(PROVIDER, PLENTY, None, ("default", "shop")) == 1
        after = steps
        (claim,) = ledger.submissions.claim(9, LEASE)
        assert (claim.generation.id, claim.account) == (free.id, "shop")
        return after - before

    (parent,) = archived(ledger)
    (blocked,) = queued(ledger)
    answer(ledger, going(ledger, accounts=("default",)), EMPTY)
    ledger.generations.cancel([blocked.id])
    few = cost_of_one()
    follow_ups(ledger, parent, 2000)
    assert cost_of_one() < 1.3 * few + 20
    ledger.close()


def test_the_order_of_the_line_holds_across_accounts(ledger: Ledger) -> None:
    (parent,) = archived(ledger)
    (late,) = follow_ups(ledger, parent)
    urgent, _ = queued(ledger, 2, priority=5)
    claims = going(ledger, Limits(rate=1, in_flight=100), ("default", "shop"))
    assert urgent.id in {claim.generation.id for claim in claims}
    assert late not in {claim.generation.id for claim in claims if claim.account == "shop"}


def test_four_dispatchers_at_once_never_spend_the_room_of_an_account_twice(ledger: Ledger) -> None:
    limits = Limits(rate=1000, in_flight=7)
    dispatchers = [lambda: [ledger.dispatch.run(PROVIDER, limits, None, BOTH) for _ in range(3)]] * 4
    # Once in vain: who has to open a connection first comes too late to meet the others.
    flat(at_once(*dispatchers))
    queued(ledger, 60)
    flat(at_once(*dispatchers))
    assert Counter(claim.account for claim in ledger.submissions.claim(100, LEASE)) == {"studio": 7, "shop": 7}


def test_the_attempt_remembers_who_was_asked(ledger: Ledger) -> None:
    queued(ledger)
    (claim,) = going(ledger, accounts=("shop",))
    answer(ledger, [claim])
    assert ledger.generations.story(claim.generation.id).attempts[0].account == "shop"
    assert ledger.dispatch.accounts_of([claim.attempt_id, "nobody"]) == {claim.attempt_id: "shop"}
    ledger.database.clock = FakeClock()
    ledger.database.clock.advance(hours=1)
    assert [silent.account for silent in ledger.submissions.claim_polls(9, LEASE, POLL_AFTER)] == ["shop"]


def test_a_rescued_task_belongs_to_the_account_whose_list_had_it(ledger: Ledger) -> None:
    (placed,) = ledger.generations.import_tasks(
        PROVIDER, [Orphan(task_id="t", request=new().request, created_at=None, attempt_id=None, marked=False)], "shop"
    )
    assert one(ledger, str(placed.generation_id)).account == "shop"
    assert ledger.generations.story(str(placed.generation_id)).attempts[0].account == "shop"


# --- 429 ---


def test_too_many_requests_stops_that_account_and_halves_its_rate(ledger: Ledger, clock: FakeClock) -> None:
    limits = Limits(rate=8, in_flight=1000)
    queued(ledger, 100)
    claims = [claim for claim in going(ledger, limits) if claim.account == "shop"]
    answer(ledger, claims, too_many(2))
    clock.advance(1)
    assert go(ledger, limits) == {"studio": 8}
    clock.advance(1.1)
    # All eight said the same, so it is halved once.
    assert ledger.dispatch.throttled_accounts()[0].factor == pytest.approx(0.5, abs=0.01)
    assert go(ledger, limits) == {"studio": 8, "shop": 4}


def test_the_rate_is_never_less_than_a_64th_and_grows_back_in_five_minutes(ledger: Ledger, clock: FakeClock) -> None:
    limits = Limits(rate=64, in_flight=1000)
    for _ in range(8):
        queued(ledger)
        answer(ledger, going(ledger, limits, ("shop",)), too_many(1))
        clock.advance(1)
    assert ledger.dispatch.throttled_accounts()[0].factor == pytest.approx(1 / 64, abs=0.01)
    clock.advance(150)
    assert ledger.dispatch.throttled_accounts()[0].factor == pytest.approx(0.5, abs=0.02)
    clock.advance(151)
    assert ledger.dispatch.throttled_accounts() == []
    queued(ledger, 100)
    assert go(ledger, limits, ("shop",)) == {"shop": 64}


def test_what_was_dispatched_and_not_sent_yet_goes_to_another_account(ledger: Ledger) -> None:
    queued(ledger, 10)
    ledger.dispatch.run(PROVIDER, PLENTY, None, ("shop",))
    claims = ledger.submissions.claim(1, LEASE)
    answer(ledger, claims, too_many(60))
    assert ledger.submissions.claim(9, LEASE) == []
    assert go(ledger) == {"studio": 10}


# --- blocked ---


def test_an_empty_account_stops_alone_and_is_told_once(ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger, 6)
    claims = [claim for claim in going(ledger) if claim.account == "shop"]
    answer(ledger, claims, EMPTY)
    assert sum(events_of(ledger, claim).count("provider.paused") for claim in claims) == 1
    (facts,) = told(ledger, "provider.paused")
    assert facts == {
        "provider": PROVIDER,
        "account": "shop",
        "reason": str(EMPTY),
        "until": iso(clock.now + timedelta(minutes=15)),
    }
    assert go(ledger) == {"studio": 3}
    assert ledger.dispatch.resume_account(PROVIDER, "studio") == {}
    assert ledger.dispatch.resume_account(PROVIDER, "shop") == {"shop": None}
    queued(ledger, 2)
    assert "shop" in go(ledger)


# --- the circuit breaker ---


def broken(ledger: Ledger, times: int = 5, error: ProviderError = SILENT) -> None:
    queued(ledger, times)
    answer(ledger, going(ledger, accounts=("shop",))[:times], error)


@pytest.mark.parametrize(
    "error",
    [SILENT, REFUSED, NotTaken("away", code="busy", status=503)],
    ids=["unclear", "refused", "away"],
)
def test_five_failures_in_a_row_stop_the_account_for_half_a_minute(
    ledger: Ledger, clock: FakeClock, error: ProviderError
) -> None:
    broken(ledger, 4, error)
    queued(ledger)
    assert ledger.dispatch.throttled_accounts() == []
    answer(ledger, going(ledger, accounts=("shop",))[:1], error)
    (facts,) = told(ledger, "provider.circuit_opened")
    assert {**facts, "until": None} == {"provider": PROVIDER, "account": "shop", "failures": 5, "until": None}
    queued(ledger, 3)
    assert go(ledger, accounts=("shop",)) == {}
    clock.advance(30)
    queued(ledger, 3)
    assert sum(go(ledger, accounts=("shop",)).values()) == 1


@pytest.mark.parametrize(
    "clear",
    [None, Rejected("forbidden", code="forbidden", status=400), too_many(0.001),
     NotTaken("the queue is full", code="23", status=200)],
    ids=["accepted", "rejected", "too many", "queue full"],
)  # fmt: skip
def test_any_clear_answer_ends_the_row(ledger: Ledger, clock: FakeClock, clear: ProviderError | None) -> None:
    broken(ledger, 4)
    queued(ledger)
    answer(ledger, going(ledger, accounts=("shop",)), clear)
    clock.advance(1)
    broken(ledger, 4)
    assert told(ledger, "provider.circuit_opened") == []


def test_what_was_not_sent_says_nothing_about_the_provider(ledger: Ledger) -> None:
    broken(ledger, 9, NotTaken("its worker is stopping", code="not_sent"))
    assert ledger.dispatch.throttled_accounts() == []


def test_a_probe_that_succeeds_closes_it_and_one_that_fails_opens_it_for_twice_as_long(
    ledger: Ledger, clock: FakeClock
) -> None:
    broken(ledger)
    queued(ledger, 20)
    lengths = []
    for _ in range(6):
        began = clock.now
        while not (probe := going(ledger, accounts=("shop",))):
            clock.advance(5)
        lengths.append((clock.now - began).total_seconds())
        assert len(probe) == 1
        answer(ledger, probe, SILENT)
    assert lengths == [30, 60, 120, 240, 300, 300]
    assert len(told(ledger, "provider.circuit_opened")) == 7
    clock.advance(300)
    probe = going(ledger, accounts=("shop",))
    assert go(ledger, accounts=("shop",)) == {}
    answer(ledger, probe)
    assert ledger.dispatch.throttled_accounts() == []
    assert sum(go(ledger, accounts=("shop",)).values()) == 20 - 7


def test_a_probe_of_which_nothing_is_heard_is_followed_by_another(ledger: Ledger, clock: FakeClock) -> None:
    broken(ledger)
    queued(ledger, 3)
    clock.advance(30)
    assert sum(go(ledger, accounts=("shop",)).values()) == 1
    clock.advance(89)
    assert go(ledger, accounts=("shop",)) == {}
    clock.advance(1)
    assert sum(go(ledger, accounts=("shop",)).values()) == 1


@pytest.mark.parametrize("end", ["cancelled", "not sent", "worker died", "called back to the line"])
def test_a_probe_that_shows_nothing_is_followed_by_another_at_once(ledger: Ledger, clock: FakeClock, end: str) -> None:
    queued(ledger, 6)
    *failing, straggler = going(ledger, accounts=("shop",))
    answer(ledger, failing, SILENT)
    clock.advance(30)
    first, _ = queued(ledger, 2)
    assert ledger.dispatch.run(PROVIDER, PLENTY, None, ("shop",)) == 1
    assert ledger.dispatch.run(PROVIDER, PLENTY, None, ("shop",)) == 0
    if end == "cancelled":
        ledger.generations.cancel([first.id])
    elif end == "called back to the line":
        answer(ledger, [straggler], SILENT)
    else:
        probe = ledger.submissions.claim(1, timedelta(seconds=5))
        assert go(ledger, accounts=("shop",)) == {}
        if end == "not sent":
            answer(ledger, probe, NotTaken("its worker is stopping", code="not_sent"))
        else:
            clock.advance(6)
            ledger.submissions.mark_lost_unconfirmed()
    assert go(ledger, accounts=("shop",)) == {"shop": 1}
    assert go(ledger, accounts=("shop",)) == {}


def test_those_that_were_under_way_before_do_not_open_it_again(ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger, 10)
    claims = going(ledger, accounts=("shop",))
    answer(ledger, claims[:5], SILENT)
    clock.advance(30)
    queued(ledger, 2)
    (probe,) = going(ledger, accounts=("shop",))
    answer(ledger, claims[5:], SILENT)
    assert len(told(ledger, "provider.circuit_opened")) == 1
    answer(ledger, [probe])
    assert ledger.dispatch.throttled_accounts() == []


def test_a_text_that_came_with_the_reply_closes_it_too(ledger: Ledger, clock: FakeClock) -> None:
    broken(ledger)
    clock.advance(30)
    queued(ledger)
    (probe,) = going(ledger, accounts=("shop",))
    ledger.dispatch.record_answered({probe.attempt_id: Outcome(status=Status.SUCCEEDED)})
    assert ledger.dispatch.throttled_accounts() == []


def test_a_reply_that_its_callback_outran_closes_it_too(ledger: Ledger, clock: FakeClock) -> None:
    broken(ledger)
    clock.advance(30)
    queued(ledger)
    (probe,) = going(ledger, accounts=("shop",))
    ledger.generations.apply_outcomes([success(probe)])
    answer(ledger, [probe])
    assert ledger.dispatch.throttled_accounts() == []


def test_a_person_ends_pause_breaker_and_shrunken_rate_at_once(ledger: Ledger) -> None:
    broken(ledger)
    queued(ledger, 2)
    first, second = going(ledger, accounts=("studio",))
    answer(ledger, [first], too_many(60))
    answer(ledger, [second], EMPTY)
    assert list(ledger.dispatch.resume_account(PROVIDER)) == ["shop", "studio"]
    assert ledger.dispatch.throttled_accounts() == []
    assert ledger.dispatch.resume_account(PROVIDER) == {}


def test_what_belongs_to_an_account_without_a_key_is_found(ledger: Ledger) -> None:
    queued(ledger, 2)
    going(ledger, accounts=("shop",))
    (parent,) = archived(ledger)
    follow_ups(ledger, parent, 3)
    found = ledger.dispatch.unreachable({PROVIDER: ("studio",)})
    assert [(it.account, it.under_way, it.waiting) for it in found] == [("default", 0, 3), ("shop", 2, 0)]
    assert ledger.dispatch.unreachable({PROVIDER: ("default", "shop")}) == []


def test_dispatchers_and_bad_answers_at_once_never_wait_for_each_other_in_a_circle(ledger: Ledger) -> None:
    queued(ledger, 300)
    errors = [SILENT, REFUSED, too_many(0.001), EMPTY]

    def dispatch() -> list[int]:
        return [ledger.dispatch.run(PROVIDER, PLENTY, None, BOTH) for _ in range(15)]

    def submit() -> list[int]:
        claimed = 0
        for number in range(15):
            claims = ledger.submissions.claim(8, LEASE)
            claimed += len(claims)
            ends = [errors[(number + place) % 4] for place in range(len(claims))]
            results = [Submitted(one.attempt_id, end) for one, end in zip(claims, ends, strict=True)]
            ledger.submissions.record(results, POLL_AFTER)
            ledger.dispatch.resume_account(PROVIDER)
        return [claimed]

    assert sum(flat(at_once(submit, dispatch, submit, dispatch, submit))) > 0
    found = ledger.generations.page(limit=1000)
    assert {one.state for one in found} <= {State.QUEUED, State.UNCONFIRMED}


def test_a_person_pauses_an_account_for_an_hour_and_what_waited_for_it_may_go_elsewhere(
    ledger: Ledger, clock: FakeClock
):
    queued(ledger, 4)
    ledger.dispatch.run(PROVIDER, PLENTY, accounts=("studio",))
    assert ledger.dispatch.in_flight() == {(PROVIDER, "studio"): 4}
    until = ledger.dispatch.pause_account(PROVIDER, "studio", PLENTY, "ada")
    assert until - clock.now == timedelta(hours=1)
    assert ledger.dispatch.in_flight() == {}
    ledger.dispatch.pause_account(PROVIDER, "studio", PLENTY, "ada")
    assert go(ledger) == {"shop": 4}
    (paused,) = ledger.dispatch.throttled_accounts()
    assert (paused.account, paused.reason, paused.paused_until) == ("studio", "paused by ada", until)
    (facts,) = told(ledger, "provider.paused")
    assert facts["reason"] == "paused by ada"
    clock.advance(3600)
    assert ledger.dispatch.throttled_accounts() == []
