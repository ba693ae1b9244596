"""`darkroom retry`, `cancel` and `resume`: what a person decides, and what cannot be decided any more."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tasks.usecases import control
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import AccountBlocked
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def state_of(ledger: Ledger, generation_id: str) -> State:
    return ledger.generations.get([generation_id])[0].state


def test_what_waits_can_be_cancelled(darkroom: Darkroom, ledger: Ledger) -> None:
    (generation,) = stories.queued(ledger)
    result = darkroom("cancel", generation.id)
    assert (result.exit_code, result.stdout) == (0, f"{generation.id} cancelled\n")
    assert state_of(ledger, generation.id) is State.CANCELLED


def test_what_was_submitted_cannot_be_taken_back(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.submitted(ledger)
    result = darkroom("cancel", generation_id)
    assert result.exit_code == 1
    assert result.stdout == f"{generation_id} not cancelled: submitted: already paid for\n"
    assert state_of(ledger, generation_id) is State.SUBMITTED


def test_cancelling_a_batch_spares_what_was_submitted(darkroom: Darkroom, ledger: Ledger) -> None:
    submitted = stories.submitted(ledger, batch="animals")
    batch_id = ledger.generations.newest_batch("animals")
    waiting = stories.queued(ledger, "an owl", "a bee", batch_id=batch_id)
    result = darkroom("cancel", "--batch", "animals", "--json")
    assert result.exit_code == 0
    assert {line["id"] for line in lines(result.stdout)} == {one.id for one in waiting}
    assert state_of(ledger, submitted) is State.SUBMITTED


@pytest.mark.parametrize("state", [state for state in State if state not in {State.QUEUED, State.CANCELLED}])
def test_every_state_has_its_reason_not_to_be_cancelled(state: State) -> None:
    assert control._NOT_CANCELLED[state]


def test_what_failed_is_queued_again(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.failed(ledger)
    result = darkroom("retry", generation_id)
    assert (result.exit_code, result.stdout) == (0, f"{generation_id} queued: it will be submitted again\n")
    assert state_of(ledger, generation_id) is State.QUEUED
    assert "dispatch" in darkroom.bells


def test_the_links_of_what_expired_are_asked_for_again(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.expired(ledger)
    assert darkroom("retry", generation_id).exit_code == 0
    assert state_of(ledger, generation_id) is State.SUCCEEDED
    assert "archive" in darkroom.bells


def test_what_may_have_been_paid_for_is_not_submitted_again_by_accident(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.unconfirmed(ledger)
    result = darkroom("retry", generation_id)
    assert result.exit_code == 1
    assert "the provider may have accepted it and charged for it" in result.stdout
    assert state_of(ledger, generation_id) is State.UNCONFIRMED
    assert darkroom.bells == []


def test_what_may_still_be_delivered_is_not_paid_for_twice_by_accident(darkroom: Darkroom, ledger: Ledger) -> None:
    failed, awaited = stories.failed(ledger, batch="animals"), stories.timed_out(ledger)
    (at,) = ledger.generations.awaited([failed, awaited]).values()
    result = darkroom("retry", "--failed", "--all")
    assert result.exit_code == 1
    left = "may still be delivered (--may-pay-twice submits them again)"
    assert result.stdout == f"1 queued again; 1 left alone: 1 {left}\n"
    told = darkroom("retry", awaited).stdout
    assert told.startswith(
        f"{awaited} not retried: failed: the provider may still deliver it, which would be charged; "
    )
    assert f"the next check is at {at.astimezone():%H:%M:%S}; --may-pay-twice submits it again now\n" in told
    assert state_of(ledger, awaited) is State.FAILED
    result = darkroom("retry", awaited, "--may-pay-twice")
    assert (result.exit_code, state_of(ledger, awaited)) == (0, State.QUEUED)


def test_all_that_failed_in_a_batch_is_tried_again(darkroom: Darkroom, ledger: Ledger) -> None:
    failed = stories.failed(ledger, batch="animals")
    unclear = stories.unconfirmed(ledger, batch_id=ledger.generations.newest_batch("animals"))
    result = darkroom("retry", "--failed", "--batch", "animals", "--json")
    assert result.exit_code == 0
    assert [line["id"] for line in lines(result.stdout)] == [failed]
    assert state_of(ledger, unclear) is State.UNCONFIRMED
    again = darkroom("retry", "--failed", "--batch", "animals")
    assert (again.exit_code, again.stderr) == (0, "No matching generations.\n")


def test_what_is_going_on_cannot_be_tried_again(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.submitted(ledger)
    result = darkroom("retry", generation_id)
    assert result.exit_code == 1
    assert result.stdout == f"{generation_id} not retried: submitted: it is still under way\n"


def test_what_ended_just_now_is_not_reported_as_tried_again(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation_id = stories.submitted(ledger)
    ended = {generation_id: State.ARCHIVED}
    monkeypatch.setattr("worker.ledger.generations.control.Control.retry", lambda *_, **__: ended)
    result = darkroom("retry", generation_id)
    assert result.exit_code == 1
    assert f"{generation_id} not retried: archived: it succeeded" in result.stdout
    assert darkroom.bells == []


def test_one_unknown_id_changes_nothing_at_all(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.failed(ledger)
    for command in ("retry", "cancel"):
        result = darkroom(command, generation_id, "gen_unknown")
        assert result.exit_code == 1
        assert "there is no generation 'gen_unknown'" in result.stderr
    assert state_of(ledger, generation_id) is State.FAILED


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry",),
        ("retry", "--batch", "animals"),
        ("retry", "gen_1", "--failed", "--batch", "animals"),
        ("cancel",),
        ("cancel", "gen_1", "--batch", "animals"),
    ],
)
def test_what_shall_be_decided_must_be_clear(darkroom: Darkroom, arguments: tuple[str, ...]) -> None:
    assert darkroom(*arguments).exit_code == 2


@pytest.mark.parametrize("arguments", [("cancel",), ("retry", "--failed")])
def test_an_unknown_batch_is_told(darkroom: Darkroom, arguments: tuple[str, ...]) -> None:
    result = darkroom(*arguments, "--batch", "unknown")
    assert result.exit_code == 1
    assert "there is no batch 'unknown'" in result.stderr


def test_a_paused_provider_goes_on(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.answered(ledger, AccountBlocked("the balance is used up", code="used_up", status=403))
    assert ledger.dispatch.throttled_accounts()
    assert darkroom("resume", "acedata").stdout == "acedata: resumed\n"
    assert ledger.dispatch.throttled_accounts() == []
    assert darkroom.bells == ["dispatch"]
    told = json.loads(darkroom("resume", "acedata", "--json").stdout)
    assert told == {"provider": "acedata", "resumed": False, "accounts": [], "clock_was_ahead": []}
    assert darkroom("resume", "acedata", "--account", "default").stdout == "acedata was not paused\n"


def test_a_bucket_that_a_wrong_clock_has_filled_is_mended_and_told(darkroom: Darkroom, ledger: Ledger) -> None:
    now = ledger.database.clock()
    ledger.database.clock = lambda: now + timedelta(days=365)
    stories.queued(ledger)
    assert ledger.dispatch.run("acedata", Limits(1, 10)) == 1
    until = f"{(now + timedelta(days=365)).astimezone():%Y-%m-%d %H:%M}"
    told = darkroom("resume", "acedata").stdout
    assert told == f"acedata: resumed; a wrong clock had paused it until {until}\n"
    assert darkroom.bells == ["dispatch"]
    assert darkroom("resume", "acedata").stdout == "acedata was not paused\n"


def test_an_unknown_account_is_no_account_that_works(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "studio:KEY1,shop:KEY2")
    result = darkroom("resume", "acedata", "--account", "sutdio")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "darkroom: acedata has no account 'sutdio'; configured: studio, shop\n"
    # One whose key was taken away may still be paused.
    stories.answered(ledger, AccountBlocked("the balance is used up", code="used_up", status=403))
    assert darkroom("resume", "acedata", "--account", "default").stdout == "acedata: resumed\n"


def test_an_unknown_provider_cannot_go_on(darkroom: Darkroom) -> None:
    result = darkroom("resume", "nobody")
    assert result.exit_code == 1
    assert "unknown provider 'nobody'; expected one of acedata" in result.stderr
