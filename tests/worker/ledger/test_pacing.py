"""The promise of rate and room: whatever dispatchers, workers and answers do, in whatever order, it is kept."""

from collections import defaultdict
from datetime import datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from tests.clock import FakeClock
from tests.examples import examples
from tests.factories import LEASE, POLL_AFTER, PROVIDER, accepted, new, queued
from worker.errors import AccountBlocked, NotTaken, Rejected, Uncertain
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.dispatch.pacing import open_for
from worker.ledger.schema import metadata
from worker.ledger.submission import Claim, Submitted

ANSWERS = {
    "accepted": accepted,
    "refused": lambda _: NotTaken("refused", code="connection_refused"),
    "too many": lambda _: NotTaken("slower", code="busy", status=429),
    "empty": lambda _: AccountBlocked("empty", code="used_up", status=402),
    "rejected": lambda _: Rejected("no", code="no", status=400),
    "unclear": lambda _: Uncertain("?", code="http_500", status=500),
}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), st.integers(1, 6)),
        st.tuples(st.just("dispatch"), st.sets(st.sampled_from(("studio", "shop")), min_size=1)),
        st.tuples(st.just("claim"), st.integers(1, 4)),
        st.tuples(st.just("answer"), st.sampled_from(sorted(ANSWERS))),
        st.tuples(st.just("wait"), st.sampled_from((0.1, 0.5, 1, 7, 31))),
        st.tuples(st.just("resume"), st.just(None)),
    ),
    max_size=40,
)
LIMITS = st.builds(Limits, rate=st.sampled_from((0.5, 2, 3)), in_flight=st.integers(1, 4))


@settings(max_examples=examples(40), suppress_health_check=list(HealthCheck))
@given(steps=STEPS, limits=LIMITS)
def test_no_account_gets_more_than_its_rate_and_room(ledger: Ledger, steps: list, limits: Limits) -> None:
    _empty(ledger)
    clock = FakeClock()
    ledger.database.clock = clock
    sent: defaultdict[str, list[datetime]] = defaultdict(list)
    claims: list[Claim] = []
    accepted: defaultdict[str, int] = defaultdict(int)
    before: dict[str, int] = {}
    for what, value in steps:
        if what == "create":
            ledger.generations.create([new() for _ in range(value)])
        elif what == "dispatch":
            ledger.dispatch.run(PROVIDER, limits, None, sorted(value))
        elif what == "claim":
            claimed = ledger.submissions.claim(value, LEASE)
            claims += claimed
            for claim in claimed:
                sent[claim.account].append(clock.now)
        elif what == "answer" and claims:
            claim = claims.pop(0)
            accepted[claim.account] += value in {"accepted", "unclear"}
            ledger.submissions.record([Submitted(claim.attempt_id, ANSWERS[value](claim))], POLL_AFTER)
        elif what == "wait":
            clock.advance(value)
        elif what == "resume":
            ledger.dispatch.resume_account(PROVIDER)
        before = _under_way(ledger)
        assert all(number <= limits.in_flight for number in before.values())
    elapsed = (clock.now - FakeClock().now).total_seconds()
    for moments in sent.values():
        assert len(moments) <= max(1.0, limits.rate) + limits.rate * elapsed


def _under_way(ledger: Ledger) -> dict[str, int]:
    return {one.account: one.under_way for one in ledger.dispatch.unreachable({}) if one.account}


def _empty(ledger: Ledger) -> None:
    with ledger.database.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))


def test_a_breaker_that_opens_again_stays_open_longer_but_not_for_ever() -> None:
    assert [open_for(times).total_seconds() for times in (1, 2, 3, 4, 5, 5000)] == [30, 60, 120, 240, 300, 300]


def test_machines_whose_clocks_differ_gain_nothing_by_it(ledger: Ledger, clock: FakeClock) -> None:
    limits = Limits(rate=2, in_flight=100)
    for late in (0, -5):
        queued(ledger)
        clock.advance(late)
        assert ledger.dispatch.run(PROVIDER, limits) == 1
    clock.advance(5)
    queued(ledger)
    assert ledger.dispatch.run(PROVIDER, limits) == 0
