"""The restore gate: a ledger that is older than what was written outside of it submits nothing."""

from dataclasses import replace

import pytest

from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, PROVIDER, at_once, queued
from worker.ledger import Ledger
from worker.ledger.restore_guard import EVERY, Marker


def advanced(ledger: Ledger, marker: Marker | None = None) -> Marker:
    following = ledger.restore.verify_marker(marker)
    assert following is not None
    return following


def complaint(ledger: Ledger) -> str:
    found = ledger.restore.state()
    assert found is not None
    return found.complaint or ""


def events(ledger: Ledger) -> list[tuple[str, object]]:
    with ledger.database.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT type, payload FROM events WHERE type LIKE 'submissions.%%' ORDER BY id"
        )
        return [(row.type, row.payload) for row in rows]


def goes_out(ledger: Ledger) -> int:
    """How many of those that wait are let go and claimed."""
    ledger.dispatch.run(PROVIDER, PLENTY)
    return len(ledger.submissions.claim(10, LEASE))


def test_a_new_ledger_and_an_empty_bucket_are_open(ledger: Ledger) -> None:
    queued(ledger)
    assert ledger.restore.state() is None
    marker = advanced(ledger)
    assert (marker.number, complaint(ledger)) == (1, "")
    assert marker.changes > 0
    assert goes_out(ledger) == 1


def test_its_own_marker_is_raised_each_time(ledger: Ledger) -> None:
    first = advanced(ledger)
    second = advanced(ledger, first)
    assert (second.ledger, second.number) == (first.ledger, 2)
    # A put that hung overtook a later one: what is out there may be older, but is never newer.
    assert advanced(ledger, first).number == 3
    assert advanced(ledger, None).number == 4
    assert complaint(ledger) == ""


def test_two_machines_that_compare_at_once_do_not_stop_each_other(ledger: Ledger) -> None:
    marker = advanced(ledger)
    found = at_once(*[lambda: advanced(ledger, marker)] * 4)
    assert sorted(one.number for one in found if isinstance(one, Marker)) == [2, 3, 4, 5]
    assert complaint(ledger) == ""


def test_a_marker_that_is_ahead_stops_all_submissions(ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger, 2)
    marker = advanced(ledger)
    ledger.dispatch.run(PROVIDER, PLENTY)
    queued(ledger)
    in_order = clock.now
    clock.advance(minutes=5)
    assert ledger.restore.verify_marker(replace(marker, number=2, at=clock.now)) is None

    assert ledger.submissions.claim(10, LEASE) == []
    assert ledger.dispatch.run(PROVIDER, PLENTY) == 0
    assert complaint(ledger) == (
        "submissions are paused: the ledger is older than its marker in the bucket: it was active until at "
        "least 2026-11-21 12:05:00 UTC, and was restored from an earlier backup, so it does not know what was "
        "submitted since; `darkroom reconcile` compares the ledger with the providers"
    )
    found = ledger.restore.state()
    assert found is not None
    assert (found.compared_at, found.closed_at) == (in_order, clock.now)
    assert [name for name, _ in events(ledger)] == ["submissions.paused"]


def test_the_marker_of_another_ledger_stops_all_submissions(ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger)
    assert ledger.restore.verify_marker(Marker("ledger_other", 1, 100, clock.now)) is None
    assert "belongs to another ledger (ledger_other, last active 2026-11-21 12:00:00 UTC)" in complaint(ledger)
    assert goes_out(ledger) == 0


@pytest.mark.parametrize("later", ["its own", "none"])
def test_once_closed_it_stays_so_whatever_the_bucket_says_later(ledger: Ledger, clock: FakeClock, later: str) -> None:
    marker = advanced(ledger)
    ledger.restore.verify_marker(replace(marker, number=7))
    closed = complaint(ledger)
    clock.advance(60)
    assert ledger.restore.verify_marker(marker if later == "its own" else None) is None
    assert closed == complaint(ledger)
    assert len(events(ledger)) == 1


def test_a_bucket_that_is_away_closes_nothing_and_hides_nothing(ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger)
    marker = advanced(ledger)
    for _ in range(50):
        clock.advance(30)
        ledger.restore.marker_unreachable()
    assert complaint(ledger) == ""
    assert goes_out(ledger) == 1
    # Its number did not rise meanwhile, or the marker of what was lost would not be ahead of it any more.
    assert ledger.restore.verify_marker(replace(marker, number=2)) is None
    assert "is older than its marker in the bucket" in complaint(ledger)


def asleep(ledger: Ledger, clock: FakeClock) -> Marker:
    """The marker of a ledger that was stopped for a night, or restored, and finds the bucket away."""
    marker = advanced(ledger)
    clock.advance(minutes=10, seconds=1)
    ledger.restore.marker_unreachable()
    return marker


def test_one_that_was_not_at_work_waits_for_a_bucket_that_is_away(ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger)
    asleep(ledger, clock)
    assert complaint(ledger) == (
        "submissions are paused: the ledger has been idle since 2026-11-21 12:00:00 UTC, and the bucket is "
        "unreachable, so it may have been restored from a backup; they resume automatically once the bucket is "
        "reachable; `darkroom reconcile` shows its error"
    )
    assert goes_out(ledger) == 0
    # However long, and told once.
    for _ in range(3):
        clock.advance(minutes=20)
        ledger.restore.marker_unreachable()
    assert goes_out(ledger) == 0
    assert "since 2026-11-21 12:00:00 UTC" in complaint(ledger)
    assert [name for name, _ in events(ledger)] == ["submissions.paused"]


def test_ten_minutes_are_no_sleep_and_a_clock_that_was_set_back_is_none(ledger: Ledger, clock: FakeClock) -> None:
    advanced(ledger)
    for step in (600, -3600):
        clock.advance(step)
        ledger.restore.marker_unreachable()
        assert complaint(ledger) == ""


def test_it_opens_by_itself_when_the_bucket_says_nothing_against_it(ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger)
    marker = asleep(ledger, clock)
    clock.advance(30)
    assert advanced(ledger, marker).number == 2
    found = ledger.restore.state()
    assert found is not None
    assert (found.complaint, found.idle_since, found.opened_at) == (None, None, clock.now)
    assert found.opened_by == "a comparison with the bucket"
    assert [name for name, _ in events(ledger)] == ["submissions.paused", "submissions.resumed"]
    assert goes_out(ledger) == 1


def test_when_the_bucket_speaks_against_it_only_a_person_opens_it(ledger: Ledger, clock: FakeClock) -> None:
    marker = asleep(ledger, clock)
    stopped_at = clock.now
    for _ in range(2):
        clock.advance(30)
        assert ledger.restore.verify_marker(replace(marker, number=7)) is None
        assert ledger.restore.verify_marker(marker) is None
        ledger.restore.marker_unreachable()
    assert "is older than its marker in the bucket" in complaint(ledger)
    found = ledger.restore.state()
    assert found is not None
    assert (found.closed_at, found.idle_since) == (stopped_at, None)
    assert [name for name, _ in events(ledger)] == ["submissions.paused", "submissions.paused"]
    assert ledger.restore.resume(ledger.restore.next_marker(marker), "ann on tower")


def test_it_is_compared_every_half_minute_and_at_once_after_a_restore(ledger: Ledger, clock: FakeClock) -> None:
    assert ledger.restore.is_check_due()
    marker = advanced(ledger)
    clock.advance(29)
    assert not ledger.restore.is_check_due()
    clock.advance(1)
    assert ledger.restore.is_check_due()
    ledger.restore.marker_unreachable()
    assert not ledger.restore.is_check_due()
    # A backup carries the time of its last comparison.
    clock.advance(EVERY.total_seconds() + 1)
    assert ledger.restore.is_check_due()
    # And where a clock was set back, as if nobody had compared.
    advanced(ledger, marker)
    clock.advance(-5)
    assert ledger.restore.is_check_due()


def test_a_person_opens_it_and_that_is_kept(ledger: Ledger, clock: FakeClock) -> None:
    queued(ledger)
    lost = replace(advanced(ledger), number=7)
    ledger.restore.verify_marker(lost)
    following = ledger.restore.next_marker(lost)
    assert following.number == 8
    assert ledger.restore.resume(following, "ann on tower")

    found = ledger.restore.state()
    assert found is not None
    assert (found.complaint, found.opened_by, found.opened_at) == (None, "ann on tower", clock.now)
    assert [name for name, _ in events(ledger)] == ["submissions.paused", "submissions.resumed"]
    assert "ann on tower" in str(events(ledger)[1][1])
    assert goes_out(ledger) == 1
    assert advanced(ledger, following).number == 9
    assert not ledger.restore.resume(following, "ann on tower")
