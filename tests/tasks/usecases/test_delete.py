"""What a client withdraws, without a command line."""

import pytest

from tasks.usecases.delete import Deleted, DeleteRequest, delete
from tasks.usecases.person import person
from tasks.usecases.selection import Selection
from tests.tasks.cli import stories
from worker.errors import NotFound
from worker.generation import State
from worker.ledger import Ledger
from worker.services import Services

BY = person("ada", "they asked for it")


def test_a_dry_run_tells_the_same_and_deletes_nothing(here: Services, ledger: Ledger) -> None:
    running, failed = stories.submitted(ledger), stories.failed(ledger)
    told: dict[bool, list[Deleted]] = {True: [], False: []}
    for dry_run, found in told.items():
        request = DeleteRequest(Selection(names=(running, failed)), BY, dry_run=dry_run)
        deletions = delete(here, request, found.append)
        assert (deletions.refused, deletions.children) == (1, ())
        assert deletions.wakes == (() if dry_run else ("manifest", "notify"))
        left = State.FAILED if dry_run else State.DELETED
        assert ledger.generations.get([failed])[0].state is left
    assert told[True] == told[False]
    obstacles = {one.generation_id: one.obstacle for one in told[False]}
    assert obstacles[failed] is None
    assert obstacles[running] is not None


def test_one_unknown_generation_keeps_all_from_being_deleted(here: Services, ledger: Ledger) -> None:
    # More than one transaction deletes.
    cancelled = [one.id for one in stories.queued(ledger, *["a fox"] * 60)]
    ledger.generations.cancel(cancelled)
    with pytest.raises(NotFound, match="gen_unknown"):
        delete(here, DeleteRequest(Selection(names=(*cancelled, "gen_unknown")), BY), lambda _: None)
    assert {one.state for one in ledger.generations.get(cancelled)} == {State.CANCELLED}


def test_a_batch_is_deleted_by_its_name(here: Services, ledger: Ledger) -> None:
    failed = stories.failed(ledger, batch="animals")
    told: list[Deleted] = []
    delete(here, DeleteRequest(Selection(batch="animals"), BY), told.append)
    assert [one.generation_id for one in told] == [failed]
