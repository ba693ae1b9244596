"""Assets on their way into the bucket: the link that dies first goes first, and only a lease's holder may speak."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select, update

from tests.clock import NOON, FakeClock
from tests.factories import (
    LEASE,
    all_stored,
    at_once,
    claimed,
    events_of,
    flat,
    history,
    one,
    state_of,
    stored,
    submitted,
    succeeded,
    success,
)
from worker.generation import State, Trouble
from worker.ledger import Ledger
from worker.ledger.assets import ArchiveClaim, Archived, Lost, Postponed
from worker.ledger.assets.recording import retry_wait
from worker.ledger.schema import assets


def taken(ledger: Ledger, limit: int = 10) -> list[ArchiveClaim]:
    return ledger.assets.claim(limit, LEASE)


def ids(claims: list[ArchiveClaim]) -> list[str]:
    return [claim.generation.id for claim in claims]


def record(ledger: Ledger, claim: ArchiveClaim, *results, described: bool = False) -> None:
    ledger.assets.record([Archived(claim, results, described)])


def test_a_claim_tells_all_that_the_worker_needs(ledger: Ledger):
    (claim,) = succeeded(ledger, links=2, batch="foxes")
    (held,) = taken(ledger)
    assert held.generation == one(ledger, claim)
    assert held.lineage.batch == "foxes"
    assert [(asset.index, asset.state, asset.tries) for asset in held.assets] == [(0, "waiting", 1), (1, "waiting", 1)]


def test_a_single_generation_has_no_batch_name(ledger: Ledger):
    succeeded(ledger)
    assert taken(ledger)[0].lineage.batch is None


def test_the_link_that_dies_first_goes_first(ledger: Ledger):
    claims = submitted(ledger, 20)
    hours = [(7 * number + 7) % 20 for number in range(20)]
    for claim, hour in zip(claims, hours, strict=True):
        ledger.generations.apply_outcomes([replace(success(claim), deadlines=(NOON + timedelta(hours=hour),))])
    order = [claim.generation.id for _, claim in sorted(zip(hours, claims, strict=True), key=lambda pair: pair[0])]
    assert [claim for limit in (1, 1, 3, 20) for claim in ids(taken(ledger, limit))] == order


def test_four_workers_at_once_never_take_the_same_generation(ledger: Ledger):
    succeeded(ledger, 40, links=2)
    claims = flat(at_once(*[lambda: [claim for _ in range(12) for claim in taken(ledger, 2)]] * 4))
    assert len(set(ids(claims))) == len(claims) == 40
    assert {len(claim.assets) for claim in claims} == {2}


def test_a_second_worker_goes_on_to_the_next_while_the_first_still_chooses(ledger: Ledger):
    """Not to the same ones, to find them taken and go to sleep (SQLite makes it wait instead)."""
    succeeded(ledger, 40)
    for _ in range(3):
        rounds = at_once(*[lambda: taken(ledger, 3)] * 4)
        assert all(rounds)


def test_stored_and_described_is_archived(ledger: Ledger, clock: FakeClock):
    (claim,) = succeeded(ledger, links=2)
    (held,) = taken(ledger)
    clock.advance(5)
    record(ledger, held, stored(0), stored(1), described=True)
    found = one(ledger, claim)
    assert (found.state, found.finished_at) == (State.ARCHIVED, clock.now)
    first, second = ledger.generations.assets_of([found.id])[found.id]
    assert (first.state, first.object_key, first.sha256, first.bytes) == ("stored", "pictures/0.png", "ab" * 32, 1234)
    assert (first.content_type, first.width, first.height, first.error) == ("image/png", 1024, 768, None)
    assert second.object_key == "pictures/1.png"
    assert events_of(ledger, claim)[2:] == ["asset.archived", "asset.archived", "generation.archived"]
    assert taken(ledger) == []


def test_it_is_not_archived_before_every_asset_is_stored_and_described(ledger: Ledger, clock: FakeClock):
    (claim,) = succeeded(ledger, links=3)
    (held,) = taken(ledger)
    record(ledger, held, stored(0), Postponed(index=1, error="the bucket is away"), stored(2))
    assert state_of(ledger, claim) is State.SUCCEEDED
    clock.advance(2)
    (held,) = taken(ledger)
    assert [(asset.state, asset.tries, asset.error) for asset in held.assets] == [
        ("stored", 1, None), ("waiting", 2, "the bucket is away"), ("stored", 1, None),
    ]  # fmt: skip
    record(ledger, held, Postponed(index=1, error="the sidecar could not be written"))
    assert state_of(ledger, claim) is State.SUCCEEDED
    clock.advance(4)
    record(ledger, taken(ledger)[0], stored(1), described=True)
    assert state_of(ledger, claim) is State.ARCHIVED
    assert history(ledger, claim).count(State.ARCHIVED) == 1


def test_what_is_postponed_waits_longer_each_time(ledger: Ledger, clock: FakeClock):
    succeeded(ledger)
    waits = []
    for _ in range(4):
        began = clock.now
        while not (claims := taken(ledger)):
            clock.advance(1)
        waits.append((clock.now - began).total_seconds())
        record(ledger, claims[0], Postponed(index=0, error="503"))
    assert waits == [0, 2, 4, 8]


def test_the_wait_grows_from_seconds_to_six_hours_and_never_past_the_end_of_a_link():
    def seconds(tries: int, reason: str = "no_answer", **spans: float) -> float:
        age, left = timedelta(hours=spans.get("age", 0)), timedelta(hours=spans.get("left", -1))
        return retry_wait(tries, age, left, reason).total_seconds()

    assert [seconds(tries) for tries in (1, 2, 3, 4, 5, 11, 12)] == [2, 4, 8, 16, 30, 30, 300]
    assert [seconds(12, age=hours) / 60 for hours in (1, 8, 24, 48, 9000)] == [7.5, 60, 180, 360, 360]
    assert [seconds(99, age=48, left=hours) / 60 for hours in (20, 2, 0.1)] == [300, 30, 5]
    assert [seconds(tries, "bad_content") for tries in (5, 6)] == [30, 3600]


def test_what_a_changed_setting_may_mend_is_tried_at_once_after_a_restart(ledger: Ledger, clock: FakeClock):
    reasons = (Trouble.HOST_NOT_ALLOWED, Trouble.STORE, Trouble.NOT_FOUND)
    succeeded(ledger, len(reasons))
    for held, reason in zip(taken(ledger), reasons, strict=True):
        record(ledger, held, Postponed(index=0, error="no", reason=reason))
    clock.advance(1)
    assert taken(ledger) == []
    assert ledger.assets.retry_mended() == 2
    assert {held.assets[0].reason for held in taken(ledger)} == {"host_not_allowed", "store"}


def test_a_generation_is_worked_on_whole_even_if_its_assets_wait_for_different_times(ledger: Ledger, clock: FakeClock):
    (claim,) = succeeded(ledger, links=2)
    record(ledger, taken(ledger)[0], Postponed(index=0, error="503"), Postponed(index=1, error="503"))
    with ledger.database.write() as connection:
        later = update(assets).where(assets.c.index == 1)
        connection.execute(later.values(not_before=NOON + timedelta(hours=1)))
    clock.advance(2)
    (held,) = taken(ledger)
    record(ledger, held, stored(0), stored(1), described=True)
    assert state_of(ledger, claim) is State.ARCHIVED


def test_what_a_worker_had_no_time_for_is_free_at_once(ledger: Ledger):
    (claim,) = succeeded(ledger, links=2)
    record(ledger, taken(ledger)[0], stored(0))
    (held,) = taken(ledger)
    assert [(asset.state, asset.tries) for asset in held.assets] == [("stored", 1), ("waiting", 1)]
    record(ledger, held, stored(1), described=True)
    assert state_of(ledger, claim) is State.ARCHIVED


def test_a_fresh_link_replaces_the_dead_one(ledger: Ledger, clock: FakeClock):
    succeeded(ledger)
    deadline = NOON + timedelta(hours=48)
    record(
        ledger,
        taken(ledger)[0],
        Postponed(index=0, error="404", url="https://cdn.example/fresh.png", deadline=deadline),
    )
    clock.advance(2)
    (asset,) = taken(ledger)[0].assets
    assert (asset.url, asset.deadline, asset.renewals) == ("https://cdn.example/fresh.png", deadline, 1)


def test_a_worker_that_lost_its_lease_changes_nothing(ledger: Ledger, clock: FakeClock):
    (claim,) = succeeded(ledger, links=2)
    (slow,) = taken(ledger)
    clock.advance(119)
    assert taken(ledger) == []
    clock.advance(1)
    (quick,) = taken(ledger)
    before = ledger.generations.story(claim.generation.id)
    record(ledger, slow, stored(0), stored(1), described=True)
    record(ledger, slow, Lost(0, "404"), Postponed(index=1, error="503"))
    assert ledger.generations.story(claim.generation.id) == before
    record(ledger, quick, stored(0), stored(1), described=True)
    assert state_of(ledger, claim) is State.ARCHIVED
    record(ledger, slow, Lost(0, "404"), Lost(1, "404"))
    assert state_of(ledger, claim) is State.ARCHIVED


def test_a_dead_link_that_nobody_renews_expires_its_generation(ledger: Ledger):
    (claim,) = succeeded(ledger, links=2)
    record(ledger, taken(ledger)[0], stored(0), Lost(1, "404; the provider offers no other link"))
    found = one(ledger, claim)
    assert (found.state, found.reason) == (State.EXPIRED, "link_dead")
    assert found.message == "404; the provider offers no other link"
    assert events_of(ledger, claim)[-3:] == ["asset.archived", "asset.expired", "generation.expired"]
    assert taken(ledger) == []


def test_what_nobody_could_reach_for_long_says_so(ledger: Ledger):
    (claim,) = succeeded(ledger)
    record(ledger, taken(ledger)[0], Lost(0, "gave up after 15 days", Trouble.UNREACHABLE))
    found = one(ledger, claim)
    assert (found.state, found.reason, found.message) == (State.EXPIRED, "unreachable", "gave up after 15 days")
    (asset,) = ledger.generations.assets_of([found.id])[found.id]
    assert asset.reason == "unreachable"


def test_one_lost_asset_does_not_stop_the_others(ledger: Ledger, clock: FakeClock):
    """Also when the last of them is stored by a worker that saw no loss."""
    (claim,) = succeeded(ledger, links=2)
    record(ledger, taken(ledger)[0], Lost(0, "404"), Postponed(index=1, error="503"))
    assert state_of(ledger, claim) is State.SUCCEEDED
    clock.advance(2)
    record(ledger, taken(ledger)[0], stored(1))
    found = one(ledger, claim)
    assert (found.state, found.message) == (State.EXPIRED, "404")


def test_many_claims_are_recorded_together(ledger: Ledger):
    succeeded(ledger, 10)
    ledger.assets.record([all_stored(claim) for claim in taken(ledger)])
    assert ledger.generations.counts() == {State.ARCHIVED: 10}


def test_nothing_is_fetched_for_a_generation_without_a_success(ledger: Ledger):
    claimed(ledger, 2)
    submitted(ledger, 2)
    assert taken(ledger) == []


def test_only_what_dies_soon_goes_to_those_who_wait_for_it(ledger: Ledger):
    soon, _ = submitted(ledger, 2)
    ledger.generations.apply_outcomes([replace(success(soon), deadlines=(NOON + timedelta(hours=1),))])
    ledger.generations.apply_outcomes([success(_)])
    assert ids(ledger.assets.claim(10, LEASE, within=timedelta(hours=2))) == [soon.generation.id]
    assert ledger.assets.claim(10, LEASE, within=timedelta(hours=2)) == []
    assert len(taken(ledger)) == 1


def test_a_link_at_risk_is_told_of_once(ledger: Ledger, clock: FakeClock):
    (claim,) = succeeded(ledger)
    assert ledger.assets.note_risks(timedelta(hours=2)) == 0
    clock.advance(hours=22, seconds=1)
    assert [ledger.assets.note_risks(timedelta(hours=2)) for _ in range(3)] == [1, 0, 0]
    assert events_of(ledger, claim).count("asset.at_risk") == 1
    assert [asset.generation_id for asset in ledger.assets.at_risk(clock() + timedelta(hours=2))] == [
        claim.generation.id
    ]


def test_who_tells_of_risks_never_waits_for_who_records(postgresql_url: str, clock: FakeClock):
    ledger = Ledger(postgresql_url, clock)
    recorded, other = succeeded(ledger, 2)
    clock.advance(hours=23)
    with ledger.database.write() as connection:
        mine = select(assets).where(assets.c.generation_id == recorded.generation.id)
        connection.execute(mine.with_for_update())
        assert ledger.assets.note_risks(timedelta(hours=2)) == 1
    assert ledger.assets.note_risks(timedelta(hours=2)) == 1
    assert [events_of(ledger, claim).count("asset.at_risk") for claim in (recorded, other)] == [1, 1]
    ledger.close()


def test_what_is_stored_is_not_at_risk(ledger: Ledger, clock: FakeClock):
    succeeded(ledger)
    ledger.assets.record([all_stored(claim) for claim in taken(ledger)])
    clock.advance(hours=23)
    assert ledger.assets.note_risks(timedelta(hours=2)) == 0
    assert ledger.assets.at_risk(clock() + timedelta(days=9)) == []
