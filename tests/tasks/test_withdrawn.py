"""What waits for a decision is shown, and is withdrawn with its generation and with its batch."""

from datetime import timedelta
from pathlib import Path

import pytest

from tasks.usecases import queries
from tasks.usecases.batches import steer
from tasks.usecases.batches.show import show_batch
from tasks.usecases.services import LedgerAlone
from tasks.waiting import Cause
from tests.asking import a_recipe, asked
from tests.factories import LEASE, all_stored, submitted, success
from tests.worker.ledger.test_recipe_steps import RECIPE
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.approvals import ApprovalState
from worker.ledger.changes import Person
from worker.ledger.generations import NewApproval
from worker.recipes import After
from worker.settings.settings import Settings


@pytest.fixture
def here(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> LedgerAlone:
    here = LedgerAlone(Settings(database_url=ledger.database.url))  # type: ignore[arg-type]
    here.__dict__["ledger"] = ledger
    return here


def completed(ledger: Ledger, batch: str) -> bool:
    (batch_id,) = (one.id for one in ledger.generations.batches_called(batch, 1))
    return ledger.batches.steering(batch_id).completed_at is not None


def test_what_waits_says_for_what(here: LedgerAlone, ledger: Ledger, tmp_path: Path):
    (one,) = asked(ledger, a_recipe(tmp_path), batch="spring")
    (task,) = asked(ledger, a_recipe(tmp_path, pick="task shop.pick"))
    person, other = (queries.show(here, found.generation_id).waits_for for found in (one, task))
    assert person is not None
    assert other is not None
    assert (person.cause, person.told) == (
        Cause.APPROVAL,
        "a recipe step is waiting for a decision by a person: `darkroom approve ID 2,4` or `darkroom reject ID`",
    )
    assert other.told.startswith("a recipe step is waiting for a decision by shop.pick")
    assert (show_batch(here, "spring").decisions, show_batch(here, "spring").batch.state) == (1, "running")


def test_a_deleted_generation_waits_for_nobody_and_its_batch_is_complete(
    here: LedgerAlone, ledger: Ledger, tmp_path: Path
):
    (approval,) = asked(ledger, a_recipe(tmp_path), batch="spring")
    assert not completed(ledger, "spring")
    assert ledger.generations.delete([approval.generation_id], Person("ada", "withdrawn by the client")) == {}
    ended = ledger.approvals.get(approval.id)
    assert (ended.state, ended.decided_by) == (ApprovalState.REJECTED, "ada")
    assert completed(ledger, "spring")
    assert ledger.approvals.pending(9) == []


def test_a_cancelled_batch_waits_for_no_decision_and_is_complete(here: LedgerAlone, ledger: Ledger, tmp_path: Path):
    several = asked(ledger, a_recipe(tmp_path), 2, batch="spring")
    (other,) = asked(ledger, a_recipe(tmp_path), batch="autumn")
    steered = steer.cancel(here, "spring")
    assert (steered.is_changed, steered.notes) == (True, ("2 decisions are no longer needed",))
    states = {ledger.approvals.get(one.id).state for one in several}
    assert states == {ApprovalState.REJECTED}
    assert ledger.approvals.get(several[0].id).decided_by == "batch cancel"
    assert completed(ledger, "spring")
    assert ledger.approvals.pending(9) == [other]


def test_what_gets_no_follow_ups_counts_although_a_decision_about_it_is_open(here: LedgerAlone, ledger: Ledger):
    """Two are asked about one that is under way, and nothing about the other."""
    claims = submitted(ledger, 2, recipe=RECIPE, batch="spring")
    ledger.generations.apply_outcomes([success(claims[0])])
    (parent,) = ledger.generations.get([claims[0].generation.id])
    wanted = [NewApproval(step=step, images=(1, 2), timeout=timedelta(days=1)) for step in ("best", "next")]
    ledger.generations.create_follow_ups(parent, [], [], wanted, moment=After.SUCCEEDED)
    assert steer.cancel(here, "spring").notes == (
        "2 under way get no follow-ups",
        "2 decisions are no longer needed",
    )


def test_a_recipe_of_a_cancelled_batch_is_not_continued(here: LedgerAlone, ledger: Ledger, tmp_path: Path):
    (claim,) = submitted(ledger, recipe=a_recipe(tmp_path), batch="spring")
    assert steer.cancel(here, "spring").notes == ("1 under way get no follow-ups",)
    ledger.generations.apply_outcomes([success(claim)])
    ledger.assets.record([all_stored(one) for one in ledger.assets.claim(1, LEASE)])
    (done,) = ledger.generations.get([claim.generation.id])
    assert done.state is State.ARCHIVED
    assert ledger.generations.due_steps(9) == []
    assert completed(ledger, "spring")
