"""How long generations usually take is learned, and decides when the next ones are asked for."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import reduce
from itertools import pairwise

import pytest
from sqlalchemy import select

from tests.clock import FakeClock
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    ask,
    at_once,
    claimed,
    failure,
    progress,
    submitted,
    success,
)
from worker.generation import Outcome, Status
from worker.ledger import Ledger
from worker.ledger.outcome import News
from worker.ledger.schema import durations
from worker.ledger.submission import LONGEST, Claim, Submitted
from worker.ledger.submission.durations import ENOUGH, SHORTEST, Patience, Usual, patience_with

pytestmark = pytest.mark.matrix

KIND = (PROVIDER, "imagine", None)


def took(ledger: Ledger, clock: FakeClock, *seconds: float, **facts: object) -> None:
    """One generation after the other that took so long."""
    for one in seconds:
        (claim,) = submitted(ledger, **facts)
        clock.advance(one)
        assert ledger.generations.apply_outcomes([ended(claim, clock)]) == ["applied"]


def ended(claim: Claim, clock: FakeClock) -> News:
    news = success(claim)
    return News(
        attempt_id=news.attempt_id, outcome=news.outcome, cause=news.cause, deadlines=news.deadlines, ended_at=clock.now
    )


def after(seconds: Sequence[float]) -> Usual:
    return reduce(Usual.after, seconds, Usual())


def patience(ledger: Ledger, *, callbacks: bool = True) -> Patience:
    with ledger.database.read() as connection:
        return patience_with(connection, [PROVIDER], POLL_AFTER, callbacks=callbacks)


def asked(ledger: Ledger, clock: FakeClock, minutes: int, **facts: object) -> list[float]:
    """When a new generation that stays silent is asked for, in seconds after its submission."""
    claims = claimed(ledger)
    ledger.submissions.record([Submitted(claims[0].attempt_id, accepted(claims[0]))], POLL_AFTER, **facts)
    began, moments = clock.now, []
    while clock.now < began + timedelta(minutes=minutes):
        clock.advance(1)
        if ask(ledger):
            moments.append((clock.now - began).total_seconds())
    return moments


def test_until_some_have_succeeded_the_setting_counts(ledger: Ledger, clock: FakeClock):
    took(ledger, clock, *[30] * (ENOUGH - 1))
    assert patience(ledger).first(KIND) == POLL_AFTER
    took(ledger, clock, 30)
    assert patience(ledger).first(KIND) < POLL_AFTER


def test_one_whose_callback_is_overdue_is_asked_for_shortly_after_the_usual_time(ledger: Ledger, clock: FakeClock):
    took(ledger, clock, 18, 20, 22, 20, 20)
    moments = asked(ledger, clock, 4)
    assert moments[0] == 25
    # From then on as patiently as ever, but at first not more slowly than such ones take at all.
    assert [later - earlier for earlier, later in pairwise(moments)] == [20, 32, 52, 82]


def test_what_varies_much_is_waited_for_longer(ledger: Ledger, clock: FakeClock):
    took(ledger, clock, 60, 120, 60, 120, 60, 120)
    assert patience(ledger).first(KIND) == timedelta(seconds=90 + 2 * 30)


def test_without_callbacks_the_first_question_comes_about_when_it_is_done(ledger: Ledger, clock: FakeClock):
    took(ledger, clock, 60, 120, 60, 120, 60, 120)
    assert patience(ledger, callbacks=False).first(KIND) == timedelta(seconds=81)
    assert asked(ledger, clock, 3, callbacks=False)[0] == 81


def test_what_is_only_polled_finds_down_to_the_true_time():
    """It is never seen to end before it is asked for, so a first question at the mean would never come sooner."""
    usual = after([300] * ENOUGH)
    for _ in range(600):
        polled = Patience({KIND: usual}, timedelta(seconds=5), callbacks=False)
        wait, polls = polled.first(KIND), 0
        while wait < timedelta(seconds=60):
            wait, polls = wait + polled.next(KIND, polls), polls + 1
        usual = usual.after(wait.total_seconds())
    assert 60 <= usual.mean <= 70


@pytest.mark.parametrize("callbacks", [True, False])
@pytest.mark.parametrize("seconds", [0.0, 1.0, 1e7])
def test_whatever_was_learned_the_first_question_comes_in_time(callbacks: bool, seconds: float):
    for poll_after in (timedelta(seconds=1), POLL_AFTER, timedelta(hours=2)):
        one = Patience({KIND: Usual(ENOUGH, seconds, seconds)}, poll_after, callbacks=callbacks)
        assert min(SHORTEST, poll_after) <= one.first(KIND) <= LONGEST


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("polls", [0, 1, 30, 10_000])
def test_the_intervals_stay_numbers_however_often_it_was_asked(known: bool, polls: int):
    one = Patience({KIND: Usual(ENOUGH, 1e7, 1e7)} if known else {}, POLL_AFTER, callbacks=True)
    assert POLL_AFTER <= one.next(KIND, polls) <= timedelta(minutes=5)


def test_each_provider_operation_and_speed_has_its_own_time(ledger: Ledger, clock: FakeClock):
    took(ledger, clock, *[20] * ENOUGH, options={"speed": "turbo"})
    took(ledger, clock, *[240] * ENOUGH, options={"speed": "relax"})
    learned = patience(ledger)
    waits = [learned.first((PROVIDER, "imagine", speed)).total_seconds() for speed in ("turbo", "relax", "fast")]
    assert waits == [25, 245, 60]
    assert learned.first((PROVIDER, "video", "turbo")) == learned.first(("kie", "imagine", "turbo")) == POLL_AFTER


def test_failures_progress_and_repetitions_teach_nothing(ledger: Ledger, clock: FakeClock):
    took(ledger, clock, *[30] * ENOUGH)
    before = patience(ledger).first(KIND)
    won, lost = submitted(ledger, 2)
    clock.advance(500)
    at = {"ended_at": clock.now}
    for news in (progress(won, 50), failure(lost)):
        ledger.generations.apply_outcomes(
            [News(attempt_id=news.attempt_id, outcome=news.outcome, cause=news.cause, **at)]
        )
    ledger.generations.apply_outcomes([success(won)])
    ledger.generations.apply_outcomes([ended(won, clock)])
    text = claimed(ledger)[0]
    ledger.generations.apply_outcomes(
        [News(attempt_id=text.attempt_id, outcome=Outcome(status=Status.SUCCEEDED, text={"seed": "1"}), cause="reply")]
    )
    assert patience(ledger).first(KIND) == before


def test_the_first_few_count_alike():
    assert after([10, 20, 30]) == Usual(3, pytest.approx(20), pytest.approx(200 / 3))


def test_a_provider_that_becomes_slower_is_followed():
    assert 80 < after([30] * 50 + [90] * 100).mean <= 90


def test_one_callback_that_comes_a_day_late_spoils_nothing():
    usual = after([30] * 50 + [86_400])
    assert usual.mean + 2 * usual.deviation < 60


def test_a_clock_that_is_behind_does_no_harm(ledger: Ledger, clock: FakeClock):
    took(ledger, clock, -20, -20, 60, 60, 60)
    assert patience(ledger, callbacks=False).first(KIND) == timedelta(seconds=0.9 * 36)


def test_who_learns_at_the_same_moment_neither_waits_nor_fails(ledger: Ledger, clock: FakeClock):
    claims = submitted(ledger, 32)
    clock.advance(30)
    verdicts = at_once(
        *[lambda claim=claim: ledger.generations.apply_outcomes([ended(claim, clock)]) for claim in claims]
    )
    assert verdicts == [["applied"]] * 32


def test_no_outcome_waits_for_a_statistic(postgresql_url: str, clock: FakeClock):
    ledger = Ledger(postgresql_url, clock)
    took(ledger, clock, 30)
    (claim,) = submitted(ledger)
    with ThreadPoolExecutor(1) as pool, ledger.database.write() as connection:
        connection.execute(select(durations).with_for_update())
        assert pool.submit(ledger.generations.apply_outcomes, [ended(claim, clock)]).result(10) == ["applied"]
    ledger.close()


def test_what_was_accepted_together_is_asked_for_at_its_own_time(ledger: Ledger, clock: FakeClock):
    took(ledger, clock, *[20] * ENOUGH, options={"speed": "turbo"})
    made = [*claimed(ledger, options={"speed": "turbo"}), *claimed(ledger)]
    ledger.dispatch.run(PROVIDER, PLENTY)
    assert ledger.submissions.claim(9, LEASE) == []
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim)) for claim in made], POLL_AFTER)
    clock.advance(26)
    assert [one.attempt_id for one in ask(ledger)] == [made[0].attempt_id]
