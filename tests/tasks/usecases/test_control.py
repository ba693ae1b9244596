"""Cancel, retry and resume without a command line."""

import pytest

from tasks.usecases.control import ResumeRequest, RetryRequest, cancel, resume, retry
from tasks.usecases.selection import Selection
from tests.tasks.cli import stories
from worker.errors import AccountBlocked, ConfigurationError, NotFound, RequestInvalid
from worker.generation import State
from worker.ledger import Ledger
from worker.services import Services


def test_of_a_batch_only_what_waits_is_cancelled(here: Services, ledger: Ledger) -> None:
    stories.submitted(ledger, batch="animals")
    (waiting,) = stories.queued(ledger, batch_id=ledger.generations.newest_batch("animals"))
    decisions = cancel(here, Selection(batch="animals"))
    assert [(one.generation_id, one.state, one.message) for one in decisions.generations] == [
        (waiting.id, State.CANCELLED, "cancelled")
    ]
    assert (decisions.is_all_done, decisions.wakes, decisions.left) == (True, (), {"submitted": 1})


def test_what_is_named_and_cannot_be_cancelled_says_why(here: Services, ledger: Ledger) -> None:
    submitted = stories.submitted(ledger)
    (decided,) = cancel(here, Selection(names=(submitted, submitted))).generations
    assert (decided.state, decided.is_done) == (State.SUBMITTED, False)
    assert decided.message == "submitted: already paid for"


def test_a_retry_wakes_the_steps_that_go_on(here: Services, ledger: Ledger) -> None:
    failed, running = stories.failed(ledger), stories.submitted(ledger)
    decisions = retry(here, RetryRequest(selection=Selection(names=(failed, running))))
    assert [(one.generation_id, one.is_done) for one in decisions.generations] == [(failed, True), (running, False)]
    assert (decisions.is_all_done, decisions.wakes) == (False, ("dispatch", "archive"))
    assert retry(here, RetryRequest(selection=Selection(names=(running,)))).wakes == ()


def test_what_may_still_be_delivered_is_retried_only_if_that_is_asked_for(here: Services, ledger: Ledger) -> None:
    selection = Selection(names=(stories.timed_out(ledger),))
    (left,) = retry(here, RetryRequest(selection=selection)).generations
    assert not left.is_done
    (queued,) = retry(here, RetryRequest(selection=selection, may_pay_twice=True)).generations
    assert (queued.state, queued.is_done) == (State.QUEUED, True)


def test_one_unknown_generation_changes_none(here: Services, ledger: Ledger) -> None:
    (waiting,) = stories.queued(ledger)
    with pytest.raises(NotFound, match="there is no generation 'gen_unknown'"):
        cancel(here, Selection(names=(waiting.id, "gen_unknown")))
    assert ledger.generations.get([waiting.id])[0].state is State.QUEUED


@pytest.mark.parametrize(("ids", "batch"), [((), None), (("gen_1",), "animals")])
def test_a_selection_is_either_generations_or_a_batch(ids: tuple[str, ...], batch: str | None) -> None:
    with pytest.raises(RequestInvalid, match="give either GENERATIONs, or any of --batch"):
        Selection(names=ids, batch=batch)


def test_resuming_names_the_accounts_that_were_paused(here: Services, ledger: Ledger) -> None:
    stories.answered(ledger, AccountBlocked("the balance is used up", code="used_up", status=403))
    resumed = resume(here, ResumeRequest("acedata"))
    assert (list(resumed.accounts), resumed.wakes) == (["default"], ("dispatch",))
    assert resume(here, ResumeRequest("acedata")).wakes == ()
    with pytest.raises(ConfigurationError, match="acedata has no account 'shop'; configured: default"):
        resume(here, ResumeRequest("acedata", "shop"))
