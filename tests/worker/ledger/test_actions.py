"""The log of actions: written before, answered after, newest first, and kept for a while."""

from datetime import timedelta

from sqlalchemy import func, select

from tests.clock import NOON, FakeClock
from worker.ledger import Ledger
from worker.ledger.access import Action, NewAction
from worker.ledger.maintenance import pruning
from worker.ledger.schema import actions

RETRY = NewAction(door="api", actor="studio", action="POST /v1/generations/{id}/retry", subject="gen_1", request_id="r")


def test_an_action_has_no_status_until_it_is_answered(ledger: Ledger):
    action_id = ledger.access.record_action(RETRY)
    (before,) = ledger.access.actions()
    assert before == Action(action_id, NOON, "api", "studio", RETRY.action, "gen_1", None, "r")
    ledger.access.record_answer(action_id, 200, "gen_1")
    assert list(ledger.access.actions()) == [before._replace(status=200)]


def test_an_answer_says_what_was_made(ledger: Ledger):
    action_id = ledger.access.record_action(NewAction(door="api", actor="studio", action="POST /v1/generations"))
    ledger.access.record_answer(action_id, 201, "gen_2")
    (action,) = ledger.access.actions()
    assert (action.subject, action.status) == ("gen_2", 201)


def test_actions_are_listed_newest_first_also_of_one_actor(ledger: Ledger, clock: FakeClock):
    made = []
    for actor in ("studio", "shop", "studio"):
        made.append(ledger.access.record_action(NewAction(door="api", actor=actor, action="POST /v1/x")))
        clock.advance(1)
    assert [one.id for one in ledger.access.actions()] == made[::-1]
    assert [one.id for one in ledger.access.actions("studio")] == [made[2], made[0]]
    assert [one.id for one in ledger.access.actions("studio", limit=1)] == [made[2]]


def test_old_actions_go_but_none_of_the_last_thirty_days(ledger: Ledger, clock: FakeClock, monkeypatch):
    monkeypatch.setattr(pruning, "BITE", 2)
    for _ in range(3):
        ledger.access.record_action(RETRY)
    clock.advance(days=20)
    ledger.access.record_action(RETRY)
    clock.advance(days=9)
    # Whoever keeps everything else for a day keeps actions for 30.
    before = clock() - timedelta(days=1)
    assert prune(ledger, before) == []
    clock.advance(days=2)
    assert ledger.maintenance.count_prunable(before)["actions"] == 3
    assert prune(ledger, before) == [2, 1]
    # Whoever keeps everything for longer keeps actions for as long.
    clock.advance(days=60)
    assert prune(ledger, clock() - timedelta(days=90)) == []
    with ledger.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(actions)).scalar_one() == 1


def prune(ledger: Ledger, before) -> list[int]:
    """How many went with each transaction."""
    gone, after = [], 0
    while after is not None:
        bite = ledger.maintenance.prune_actions(before)
        gone.append(bite.gone["actions"])
        after = bite.after
    return [number for number in gone if number]
