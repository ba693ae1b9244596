"""Addresses that submissions name: which events go where, what one address does to others, and when they go."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy import select, text

from tests.clock import FakeClock
from tests.factories import LEASE, archived, at_once, failure, new, queued, submitted, succeeded
from tests.patience import patient
from tests.worker.ledger import delivering
from tests.worker.ledger.previous_tables import back_to_0035
from tests.worker.ledger.test_subscriber_rows import deliver, row_of
from worker.errors import NotFound, RequestInvalid
from worker.generation import Generation
from worker.ledger import Ledger
from worker.ledger.changes import Changes
from worker.ledger.database import REVISION, takes_several
from worker.ledger.events import DeliveryFilter, EventDelivery, Handed, NewSubscriber, Response, addresses
from worker.ledger.events.deliveries import FEWEST_FAILURES
from worker.ledger.events.order import FIRST_LOOK
from worker.ledger.generations import FileBatch
from worker.ledger.migrations import upgrade
from worker.ledger.schema import ApprovalState, approvals, notify_addresses
from worker.ledger.statements import insert_rows
from worker.subscribers import NotifyAddress

SHOP = NotifyAddress("https://shop.test/hooks?order=1")
ORDER_2 = NotifyAddress("https://shop.test/hooks?order=2")
CRM = NotifyAddress("https://crm.test/in")
GONE = {"status": 410}


def hand_over(
    ledger: Ledger, name: str = SHOP.subscriber, answers: Callable[[EventDelivery], str | None] = lambda _: None
) -> list[EventDelivery]:
    """Deliver what is due to an origin; `answers` says why an address does not take an event; 410: it takes none."""

    def send(delivery: EventDelivery) -> Handed:
        error = answers(delivery)
        return Handed(delivery, error, error == "410", Response(is_last=error == "410"))

    claims = ledger.events.claim([name], 1, LEASE)
    return [one for mine in claims for one in delivering.hand_over(ledger, mine, send, DeliveryFilter(by_address=True))]


def by_address(tried: Sequence[EventDelivery]) -> dict[str, list[str | None]]:
    """Address → the generation of each event, None for those of a batch."""
    found: defaultdict[str, list[str | None]] = defaultdict(list)
    for one in tried:
        assert one.address is not None
        found[one.address.url].append(one.generation_id)
    return dict(found)


def happen_to(ledger: Ledger, *generations: Generation, batch: str | None = None) -> None:
    """An event of each, and one of the batch."""
    with ledger.database.write() as connection:
        changes = Changes(connection, ledger.database.clock())
        for one in generations:
            changes.event("generation.submitted", generation_id=one.id)
        if batch is not None:
            changes.event("batch.completed", batch_id=batch)
        changes.flush()


def subjects(ledger: Ledger) -> set[str]:
    with ledger.database.read() as connection:
        return set(connection.execute(select(notify_addresses.c.subject)).scalars())


def statements(ledger: Ledger, work: Callable[[], Any]) -> list[str]:
    said: list[str] = []

    def note(*facts: Any) -> None:
        # Without those that a ledger sends now and then.
        if "alembic_version" not in facts[2] and "pg_locks" not in facts[2]:
            said.append(facts[2])

    sqlalchemy_event.listen(ledger.database.engine, "before_cursor_execute", note)
    try:
        work()
    finally:
        sqlalchemy_event.remove(ledger.database.engine, "before_cursor_execute", note)
    return said


def child(ledger: Ledger, parent: Generation, action: str = "upscale1", **facts: Any) -> Generation:
    follow_up = new(
        action, action=action, parent_id=parent.id, depth=parent.depth + 1, batch_id=parent.batch_id, **facts
    )
    (made,) = ledger.generations.create([follow_up])
    return made


def test_a_generations_address_gets_its_events_and_those_of_all_that_follows_and_no_others(ledger: Ledger):
    (root,) = ledger.generations.create([new("root", notify=SHOP)])
    (neighbour,) = ledger.generations.create([new("neighbour")])
    grandchild = child(ledger, followed := child(ledger, root), "zoom")
    happen_to(ledger, root, neighbour, followed, grandchild)
    with ledger.database.write() as connection:
        changes = Changes(connection, ledger.database.clock())
        changes.event("provider.paused", provider="acedata")
        changes.flush()
    assert by_address(hand_over(ledger)) == {SHOP.url: [root.id, followed.id, grandchild.id]}


def test_a_batchs_address_gets_what_its_generations_and_the_batch_itself_have(ledger: Ledger):
    one, two = ledger.generations.create([new("one"), new("two")], "spring", SHOP)
    happen_to(ledger, one, two, batch=one.batch_id)
    happen_to(ledger, child(ledger, one))
    tried = hand_over(ledger)
    assert [one.type for one in tried].count("batch.completed") == 1
    assert len(by_address(tried)[SHOP.url]) == 4


def test_the_nearest_address_gets_an_event_and_no_other_does(ledger: Ledger):
    one, two = ledger.generations.create([new("one", notify=ORDER_2), new("two")], "spring", SHOP)
    own = child(ledger, one, notify=CRM)
    happen_to(ledger, one, two, own, child(ledger, own, "zoom"), batch=one.batch_id)
    assert by_address(hand_over(ledger)) == {SHOP.url: [two.id, None], ORDER_2.url: [one.id]}
    assert len(by_address(hand_over(ledger, CRM.subscriber))[CRM.url]) == 2


def test_addresses_of_one_host_share_a_subscriber_and_ports_and_schemes_do_not(ledger: Ledger):
    urls = ["https://shop.test/a", "https://SHOP.test:443/b", "https://shop.test:8443/a", "http://shop.test/a"]
    names = [NotifyAddress(url).subscriber for url in urls]
    assert names[0] == names[1]
    assert len(set(names)) == 3
    assert all(name.startswith("notify:shop.test-") for name in names)
    many = [new(str(number), notify=NotifyAddress(f"https://shop.test/{number}")) for number in range(20)]
    ledger.generations.create(many)
    assert ledger.events.notify_addresses() == {names[0]: 20}
    assert [one.name for one in ledger.events.known_subscribers()] == [names[0]]


def test_the_address_is_written_with_the_generation_or_not_at_all(ledger: Ledger):
    """It is in the same transaction: whoever asks for it again, after an answer that was lost, finds it."""

    def fail(*said: Any) -> None:
        if "INSERT INTO notify_addresses" in said[2]:
            raise RuntimeError

    sqlalchemy_event.listen(ledger.database.engine, "before_cursor_execute", fail)
    for batch in (None, "spring"):
        with pytest.raises(RuntimeError):
            ledger.generations.create([new(key="fox", notify=SHOP)], batch)
    sqlalchemy_event.remove(ledger.database.engine, "before_cursor_execute", fail)
    assert ledger.generations.page() == []
    assert ledger.events.known_subscribers() == []
    ledger.generations.create([new(key="fox", notify=SHOP)])
    assert len(subjects(ledger)) == 1


def test_a_group_costs_the_same_statements_however_many_and_nothing_without_an_address(ledger: Ledger):
    ledger.generations.create([new(notify=SHOP)])

    def create(number: int, **facts: Any) -> int:
        return len(statements(ledger, lambda: ledger.generations.create([new(**facts) for _ in range(number)])))

    plain = create(1)
    assert create(40) == plain
    assert create(1, notify=SHOP) == create(40, notify=ORDER_2) == plain + 2
    (of_batch,) = {len(subjects(ledger))}
    ledger.generations.create([new(str(number)) for number in range(40)], "spring", SHOP)
    assert len(subjects(ledger)) == of_batch + 1


def test_a_page_of_events_costs_one_statement_to_choose_from(ledger: Ledger):
    counts = []
    for number in (1, 40):
        happen_to(ledger, *ledger.generations.create([new(notify=SHOP) for _ in range(number)]))
        (mine,) = ledger.events.claim([SHOP.subscriber], 1, LEASE)
        said = statements(ledger, lambda mine=mine: ledger.events.enqueue_new(mine, DeliveryFilter(by_address=True)))
        counts.append(len(said))
        assert len([one for one in said if "notify_addresses" in one]) == 1
        ledger.events.release(mine)
    assert counts[0] == counts[1]


def test_what_was_submitted_before_keeps_its_address(ledger: Ledger):
    (made,) = ledger.generations.create([new(key="fox", notify=SHOP)])
    (plain,) = ledger.generations.create([new(key="owl")])
    again = ledger.generations.create([new(key="fox", notify=ORDER_2), new(key="owl", notify=ORDER_2)], "spring", CRM)
    assert [one.id for one in again] == [made.id, plain.id]
    # No batch was made, so none has an address.
    assert subjects(ledger) == {made.id}
    assert ledger.events.notify_address(made.id) == SHOP


def test_a_large_batch_gets_its_address_with_its_last_row(ledger: Ledger):
    wanted = [new(str(number), key=f"k{number}") for number in range(500)]
    assert takes_several(wanted)
    made = ledger.generations.create(wanted, "spring", SHOP)
    assert subjects(ledger) == {made[0].batch_id}
    assert [one.batch_id for one in ledger.generations.create(wanted, "spring", ORDER_2)] == [made[0].batch_id] * 500
    assert ledger.events.notify_address(str(made[0].batch_id)) == SHOP


def test_a_batch_of_a_file_gets_its_address_once_and_new_rows_do_not_change_it(ledger: Ledger):
    facts = {"name": "sheet", "source": "sheet.csv", "source_sha256": "ab"}
    rows = [new(str(number), dedupe=f"row {number}", row_number=number, row_sha256=str(number)) for number in (1, 2, 3)]
    written = ledger.generations.write_rows(FileBatch(**facts, notify=SHOP), rows[:2])
    more = ledger.generations.write_rows(FileBatch(id=written.batch_id, **facts, notify=CRM), rows[2:])
    assert subjects(ledger) == {written.batch_id}
    assert ledger.events.notify_address(written.batch_id) == SHOP
    happen_to(ledger, *ledger.generations.get([*more.created]))
    assert by_address(hand_over(ledger)) == {SHOP.url: [*more.created]}


def test_410_ends_only_that_address(ledger: Ledger):
    one, two = ledger.generations.create([new("one", notify=SHOP), new("two", notify=ORDER_2)])
    happen_to(ledger, one, two, one, two)

    def answers(delivery: EventDelivery) -> str | None:
        assert delivery.address is not None
        return "410" if delivery.address.url == SHOP.url else None

    assert by_address(hand_over(ledger, answers=answers)) == {SHOP.url: [one.id], ORDER_2.url: [two.id, two.id]}
    assert subjects(ledger) == {two.id}
    row = row_of(ledger, SHOP.subscriber)
    assert (row.failures, row.disabled_at, row.left_at) == (0, None, None)
    (dead,) = ledger.events.dead(9)
    assert (dead.generation_id, dead.error) == (one.id, "410")
    # Nobody is there any more to deliver it to.
    assert not ledger.events.replay(dead.event_id, SHOP.subscriber)
    happen_to(ledger, one, two)
    assert by_address(hand_over(ledger, answers=answers)) == {ORDER_2.url: [two.id]}


def test_an_address_that_fails_delays_the_others_of_its_host_by_seconds_only(ledger: Ledger, clock: FakeClock):
    one, two = ledger.generations.create([new("one", notify=SHOP), new("two", notify=ORDER_2)])
    happen_to(ledger, one, two, two)

    def answers(delivery: EventDelivery) -> str | None:
        assert delivery.address is not None
        return "HTTP 500" if delivery.address.url == SHOP.url else None

    assert by_address(hand_over(ledger, answers=answers)) == {SHOP.url: [one.id]}
    clock.advance(5)
    assert by_address(hand_over(ledger, answers=answers))[SHOP.url] == [one.id]
    clock.advance(10)
    assert by_address(hand_over(ledger, answers=answers)) == {ORDER_2.url: [two.id, two.id]}
    while not (dead := ledger.events.dead(9)):
        clock.advance(21_600)
        hand_over(ledger, answers=answers)
    assert ledger.events.replay(dead[0].event_id, SHOP.subscriber)
    assert by_address(hand_over(ledger)) == {SHOP.url: [one.id]}


def test_events_of_a_generation_stay_in_order_while_those_of_others_pass(ledger: Ledger, clock: FakeClock):
    one, two = ledger.generations.create([new("one", notify=SHOP), new("two", notify=SHOP)])
    happen_to(ledger, one, one, two)
    assert by_address(hand_over(ledger, answers=lambda _: "HTTP 500")) == {SHOP.url: [one.id]}
    clock.advance(4)
    happen_to(ledger, one)
    assert hand_over(ledger) == []
    clock.advance(1)
    tried = hand_over(ledger)
    assert len(tried) == 4
    ids = [each.event_id for each in tried if each.generation_id == one.id]
    assert ids == sorted(ids)
    assert len(ids) == 3


def test_an_origin_that_fails_for_days_is_disabled_and_comes_back_with_the_next_submission(
    ledger: Ledger, clock: FakeClock
):
    (one,) = ledger.generations.create([new("one", notify=SHOP)])
    for _ in range(FEWEST_FAILURES):
        happen_to(ledger, one)
        hand_over(ledger, answers=lambda _: "HTTP 500")
        clock.advance(86_400)
    row = row_of(ledger, SHOP.subscriber)
    assert row.disabled_reason == "no delivery has succeeded for 5 days: HTTP 500"
    assert hand_over(ledger) == []
    ledger.events.register_subscribers([])
    assert hand_over(ledger) == []
    (two,) = ledger.generations.create([new("two", notify=ORDER_2)])
    happen_to(ledger, two)
    tried = by_address(hand_over(ledger))
    assert tried[ORDER_2.url] == [two.id]
    assert tried[SHOP.url]


def test_nothing_is_missed_however_late_a_worker_looks_and_earlier_events_do_not_come(ledger: Ledger, clock: FakeClock):
    (before,) = queued(ledger)
    happen_to(ledger, before)
    clock.advance(FIRST_LOOK.total_seconds() + 1)
    (one,) = ledger.generations.create([new("one", notify=SHOP)])
    happen_to(ledger, one)
    clock.advance(3600)
    happen_to(ledger, one)
    assert by_address(hand_over(ledger)) == {SHOP.url: [one.id, one.id]}


def test_an_older_version_neither_sends_to_an_origin_nor_takes_anything_from_it(ledger: Ledger):
    """It knows added subscribers by their `kind`, and takes what the settings do not declare for removed."""
    (one,) = ledger.generations.create([new("one", notify=SHOP)])
    happen_to(ledger, one)
    with ledger.database.write() as connection:
        (row,) = connection.execute(text("SELECT kind, address, secrets, types FROM subscribers")).all()
        assert tuple(row) == (None, None, None, None)
        connection.execute(text("UPDATE subscribers SET left_at = '2026-11-21 12:00:00' WHERE kind IS NULL"))
    assert hand_over(ledger) == []
    ledger.events.register_subscribers([])
    assert by_address(hand_over(ledger)) == {SHOP.url: [one.id]}


def test_an_origin_is_removed_with_all_its_addresses_and_comes_back_when_named_again(ledger: Ledger):
    one, two = ledger.generations.create([new("one", notify=SHOP), new("two", notify=CRM)])
    happen_to(ledger, one, two)
    ledger.events.remove_subscriber(SHOP.subscriber)
    ledger.events.register_subscribers([])
    assert hand_over(ledger) == []
    assert ledger.events.notify_addresses() == {CRM.subscriber: 1}
    assert [row.name for row in ledger.events.known_subscribers()] == [CRM.subscriber]
    with pytest.raises(NotFound):
        ledger.events.remove_subscriber(SHOP.subscriber)
    (three,) = ledger.generations.create([new("three", notify=ORDER_2)])
    happen_to(ledger, one, three)
    assert by_address(hand_over(ledger)) == {ORDER_2.url: [three.id]}
    taken = NewSubscriber(name=CRM.subscriber, kind="webhook", address="https://x.test/", created_by="me")
    with pytest.raises(RequestInvalid, match="already"):
        ledger.events.add_subscriber(taken)


def test_removing_while_events_wait_sends_none_of_them_later(ledger: Ledger, clock: FakeClock):
    (one,) = ledger.generations.create([new("one", notify=SHOP)])
    happen_to(ledger, one, one)
    assert len(hand_over(ledger, answers=lambda _: "HTTP 500")) == 1
    ledger.events.remove_subscriber(SHOP.subscriber)
    (two,) = ledger.generations.create([new("two", notify=ORDER_2)])
    clock.advance(60)
    happen_to(ledger, two)
    assert by_address(hand_over(ledger)) == {ORDER_2.url: [two.id]}
    assert ledger.events.waiting_deliveries() == {}


def test_an_event_is_sent_again_only_where_it_goes(ledger: Ledger):
    one, two = ledger.generations.create([new("one", notify=SHOP), new("two", notify=CRM)])
    happen_to(ledger, one, two)
    ids = [each.event_id for each in (*hand_over(ledger), *hand_over(ledger, CRM.subscriber))]
    assert len(ids) == 2
    resent = ledger.events.resend(SHOP.subscriber, ids, DeliveryFilter(by_address=True))
    assert resent.resent == 1
    assert by_address(hand_over(ledger)) == {SHOP.url: [one.id]}


def test_subscribers_of_other_kinds_get_everything_as_before(ledger: Ledger):
    ledger.events.register_subscribers(["declared"])
    (one,) = ledger.generations.create([new("one", notify=SHOP)])
    happen_to(ledger, one)
    assert [each.address for each in deliver(ledger, "declared")] == [None]


# --- prune ---

MONTH = timedelta(days=30)


def prune(ledger: Ledger, clock: FakeClock) -> int:
    before = clock.now - MONTH
    counted = ledger.maintenance.count_prunable(before)["notify_addresses"]
    ledger.maintenance.prune_events(before)
    gone, after = 0, 0
    while after is not None:
        bite = ledger.maintenance.prune_notify_addresses(before, after)
        gone, after = gone + bite.gone["notify_addresses"], bite.after
    assert counted <= gone
    return gone


def a_month_later(ledger: Ledger, clock: FakeClock) -> None:
    """With an event of somebody else, since the newest one always stays."""
    clock.advance(MONTH.total_seconds() + 1)
    happen_to(ledger, *queued(ledger))


@pytest.mark.parametrize("is_batch", [False, True])
def test_an_address_goes_with_its_events(ledger: Ledger, clock: FakeClock, is_batch: bool):
    wanted = new("one", notify=None if is_batch else SHOP)
    (made,) = ledger.generations.create([wanted], "spring", SHOP if is_batch else None)
    ledger.generations.cancel([made.id])
    happen_to(ledger, made)
    assert [one.type for one in hand_over(ledger)].count("batch.completed") == is_batch
    assert prune(ledger, clock) == 0
    a_month_later(ledger, clock)
    hand_over(ledger)
    assert prune(ledger, clock) == 1
    with ledger.database.read() as connection:
        assert connection.execute(text("SELECT name FROM subscribers")).all() == []
    # The origin costs nothing more until somebody names it again.
    ledger.events.register_subscribers([])
    assert ledger.events.known_subscribers() == []
    assert not ledger.maintenance.is_due("notify")
    (again,) = ledger.generations.create([new("again", notify=ORDER_2)])
    happen_to(ledger, again)
    assert by_address(hand_over(ledger)) == {ORDER_2.url: [again.id]}


def test_an_address_stays_while_something_may_still_happen_or_is_not_delivered(ledger: Ledger, clock: FakeClock):
    (parent,) = archived(ledger, notify=ORDER_2)
    (given_up,) = submitted(ledger, notify=CRM)
    (waiting,) = ledger.generations.create([new("not sent yet", notify=SHOP)])
    follow_up = child(ledger, ledger.generations.get([parent])[0])
    batch = ledger.generations.create([new("in a batch")], "spring", NotifyAddress("https://shop.test/batch"))
    ledger.generations.apply_outcomes([failure(given_up)])
    hand_over(ledger)
    hand_over(ledger, CRM.subscriber, answers=lambda _: "HTTP 500")
    a_month_later(ledger, clock)
    hand_over(ledger)
    assert prune(ledger, clock) == 0
    assert subjects(ledger) == {waiting.id, parent, str(batch[0].batch_id), given_up.generation.id}
    ledger.generations.cancel([waiting.id, follow_up.id])
    hand_over(ledger)
    a_month_later(ledger, clock)
    hand_over(ledger)
    hand_over(ledger, CRM.subscriber)
    assert prune(ledger, clock) == 3 - 1
    assert subjects(ledger) == {str(batch[0].batch_id), given_up.generation.id}


@pytest.mark.parametrize("is_batch", [False, True])
def test_an_address_stays_while_a_person_is_asked(ledger: Ledger, clock: FakeClock, is_batch: bool):
    wanted = new("one", notify=None if is_batch else SHOP)
    (made,) = ledger.generations.create([wanted], "spring", SHOP if is_batch else None)
    ledger.generations.cancel([made.id])
    place = {"id": "a", "generation_id": made.id, "batch_id": made.batch_id, "step": "best", "images": []}
    asked = {"state": ApprovalState.ASKED, "asked_at": clock.now, "expires_at": clock.now + 9 * MONTH}
    with ledger.database.write() as connection:
        connection.execute(approvals.insert().values(**place, **asked))
    hand_over(ledger)
    a_month_later(ledger, clock)
    hand_over(ledger)
    assert prune(ledger, clock) == 0
    with ledger.database.write() as connection:
        connection.execute(approvals.update().values(state=ApprovalState.DECIDED))
    assert prune(ledger, clock) == 1


def test_those_that_stay_do_not_keep_later_ones(ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worker.ledger.maintenance.pruning.BITE", 2)
    ledger.generations.create([new("waits", notify=SHOP) for _ in range(3)])
    clock.advance(1)
    done = ledger.generations.create([new("done", notify=ORDER_2) for _ in range(3)])
    clock.advance(1)
    ledger.generations.create([new("waits too", notify=SHOP) for _ in range(2)])
    ledger.generations.cancel([one.id for one in done])
    hand_over(ledger)
    clock.advance(MONTH.total_seconds() + 1)
    happen_to(ledger, *queued(ledger))
    hand_over(ledger)
    before = clock.now - MONTH
    for _ in range(9):
        ledger.maintenance.prune_events(before)
    counted = ledger.maintenance.count_prunable(before)["notify_addresses"]
    assert counted == prune(ledger, clock) == 3
    assert len(subjects(ledger)) == 5


def test_whoever_was_served_longest_ago_is_next_however_many_hosts_there_are(ledger: Ledger):
    hosts = [NotifyAddress(f"https://{name}.test/in") for name in "abc"]
    made = ledger.generations.create([new(one.url, notify=one) for one in hosts])
    names = [one.subscriber for one in hosts]
    served = []
    for _ in range(6):
        happen_to(ledger, *made)
        (mine,) = ledger.events.claim(names, 1, LEASE)
        served.append(mine.subscriber)
        assert ledger.events.enqueue_new(mine, DeliveryFilter(by_address=True))
        ledger.events.release(mine)
    assert served == names * 2


def test_more_hosts_than_a_statement_can_name_keep_nobody_from_their_events(ledger: Ledger):
    (one,) = ledger.generations.create([new("one", notify=SHOP)])
    happen_to(ledger, one)
    others = [f"notify:{number}.test-01234567" for number in range(70_000)]
    found: list[str] = []
    for _ in range(100):
        found += [claim.subscriber for claim in ledger.events.claim([*others, SHOP.subscriber], 1, LEASE)]
        if found:
            break
    assert found == [SHOP.subscriber]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_who_name_the_same_new_hosts_for_a_batch_and_for_one_of_it_do_not_wait_in_a_circle(ledger: Ledger):
    """Only PostgreSQL has two who write at once."""

    def submit(one: NotifyAddress, batch: NotifyAddress) -> list[Generation]:
        return ledger.generations.create([new("one", notify=one)], "batch", batch)

    for number in range(8):
        first, second = (NotifyAddress(f"https://{name}{number}.test/in") for name in "az")
        twice = [lambda a=first, b=second: submit(a, b), lambda a=first, b=second: submit(b, a)] * 2
        assert [one for one in at_once(*twice) if isinstance(one, Exception)] == []
    assert set(ledger.events.notify_addresses().values()) == {4}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_host_that_a_submission_is_naming_is_not_pruned(
    ledger: Ledger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
):
    """Only PostgreSQL has two who write at once."""
    ledger.generations.create([new("one", notify=SHOP)])
    with ledger.database.write() as connection:
        # As after a 410.
        connection.execute(notify_addresses.delete())

    def insert_late(*what: Any, **how: Any) -> None:
        # It neither waits for the submission, which has just found the row, nor takes it away.
        others.submit(ledger.maintenance.prune_notify_addresses, clock.now).result(patient(5))
        insert_rows(*what, **how)

    with ThreadPoolExecutor(1) as others, monkeypatch.context() as patch:
        patch.setattr(addresses, "insert_rows", insert_late)
        ledger.generations.create([new("two", notify=ORDER_2)])
    assert ledger.events.notify_addresses() == {SHOP.subscriber: 1}
    ledger.events.remove_subscriber(SHOP.subscriber)
    ledger.maintenance.prune_notify_addresses(clock.now)
    with ledger.database.read() as connection:
        assert connection.execute(text("SELECT name FROM subscribers")).all() == []


def test_an_upgrade_keeps_subscribers_and_their_deliveries(blank_database_url: str, clock: FakeClock):
    ledger = Ledger(blank_database_url, clock)
    try:
        upgrade(ledger.database)
        ledger.events.register_subscribers(["shop"])
        succeeded(ledger)
        assert len(deliver(ledger)) == 2
        with ledger.database.write() as connection:
            back_to_0035(connection)
            connection.execute(text("DROP TABLE notify_addresses"))
            connection.execute(text("ALTER TABLE subscribers DROP COLUMN origin"))
            connection.execute(text("UPDATE alembic_version SET version_num = '0034'"))
        assert upgrade(ledger.database) == ("0034", REVISION)
        assert [row.name for row in ledger.events.known_subscribers()] == ["shop"]
        assert len(ledger.events.delivery_log("shop", 9)) == 2
        (one,) = ledger.generations.create([new("one", notify=SHOP)])
        happen_to(ledger, one)
        assert by_address(hand_over(ledger)) == {SHOP.url: [one.id]}
    finally:
        ledger.close()
