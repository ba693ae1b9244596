"""Two accounts of one provider, from the prompt to the bucket: who pays, who is asked, and what if one fails."""

import json
from collections import Counter

import pytest

from tasks import submit as submitting
from tests.commands import darkroom
from tests.pipeline import Pipeline, Start
from tests.worker.providers.contract import send
from worker.generation import Accepted, GenerationRequest, Operation, State
from worker.ledger.dispatch.pacing import FAILURES
from worker.providers import PROVIDERS, Mark, provider_class
from worker.settings.settings import load_settings

KEYS = "studio:key-of-the-studio,shop:key-of-the-shop"
STUDIO, SHOP = "key-of-the-studio", "key-of-the-shop"


@pytest.fixture(autouse=True)
def two_accounts_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROVIDERS:
        monkeypatch.setenv(provider_class(name).key_setting, KEYS)


def paid(pipeline: Pipeline) -> Counter[str]:
    return Counter(line["key"] for line in pipeline.sandbox.bill()["lines"])


@pytest.mark.parametrize("provider", PROVIDERS)
def test_both_pay_and_each_is_asked_about_its_own(start: Start, provider: str) -> None:
    """The sandbox shows a task to the key only that has paid for it."""
    pipeline = start(callbacks=False)
    pipeline.submit(*"abcdef", provider=provider)
    pipeline.until_settled()
    assert {one.state for one in pipeline.all()} == {State.ARCHIVED}
    assert paid(pipeline) == {STUDIO: 3, SHOP: 3}


def test_callbacks_are_confirmed_by_the_account_that_was_asked(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_CONFIRM", "always")
    pipeline = start()
    pipeline.submit(*"abcd")
    pipeline.until_settled()
    assert {one.state for one in pipeline.all()} == {State.ARCHIVED}
    assert {entry["key"] for entry in pipeline.sandbox.log("query")} == {STUDIO, SHOP}


def test_follow_ups_are_paid_by_the_account_of_their_parent(start: Start) -> None:
    pipeline = start()
    pipeline.submit("a", "b", follow_up=("upscale1",))
    pipeline.until_settled()
    made = pipeline.all()
    assert [one.state for one in made] == [State.ARCHIVED] * 4
    account_of = {one.id: one.account for one in made}
    assert all(one.account == account_of[one.parent_id] for one in made if one.parent_id)
    assert paid(pipeline) == {STUDIO: 2, SHOP: 2}


@pytest.mark.parametrize("trouble", ["used-up", "invalid", "too_many"])
def test_what_one_account_does_not_take_the_other_does(start: Start, trouble: str) -> None:
    pipeline = start()
    pipeline.sandbox.set_keys({SHOP: trouble})
    pipeline.submit(*"abcdef")
    pipeline.until_settled()
    assert {one.state for one in pipeline.all()} == {State.ARCHIVED}
    assert paid(pipeline) == {STUDIO: 6}
    if trouble != "too_many":
        (slowed,) = pipeline.ledger.dispatch.throttled_accounts()
        assert (slowed.account, slowed.reason is not None) == ("shop", True)
        pipeline.sandbox.set_keys({})
        assert darkroom("resume", "acedata", "--account", "shop").output == "acedata, account shop: resumed\n"
        pipeline.submit(*"gh")
        pipeline.until_settled()
        assert paid(pipeline) == {STUDIO: 7, SHOP: 1}


def test_a_key_that_is_mended_ends_its_pause_and_no_other(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = start()
    pipeline.sandbox.set_keys({STUDIO: "invalid", SHOP: "invalid"})
    pipeline.submit("a", "b")
    pipeline.answer_bells()
    assert [one.paused_key is not None for one in pipeline.ledger.dispatch.throttled_accounts()] == [True, True]
    # As after a restart.
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", f"studio:new-key,shop:{SHOP}")
    pipeline.here.settings = load_settings()
    pipeline.here._providers.clear()
    pipeline.clock.advance(seconds=61)
    pipeline.until_settled()
    assert paid(pipeline) == {"new-key": 2}
    assert [one.account for one in pipeline.ledger.dispatch.throttled_accounts()] == ["shop"]


@pytest.mark.system
@pytest.mark.parametrize("fault", ["error_before", "unavailable"])
def test_a_broken_provider_makes_few_unclear_submissions_and_not_thousands(start: Start, fault: str) -> None:
    pipeline = start(faults={fault: 1})
    pipeline.submit(*map(str, range(70)))
    pipeline.answer_bells()
    pipeline.step("reconcile")
    pipeline.answer_bells()
    per_account = Counter(entry["key"] for entry in pipeline.sandbox.log("submit"))
    assert all(number <= FAILURES + submitting.THREADS for number in per_account.values()), per_account
    assert sum(one.state is State.QUEUED for one in pipeline.all()) >= 70 - 2 * (FAILURES + submitting.THREADS)
    assert [one.is_open for one in pipeline.ledger.dispatch.throttled_accounts()] == [True, True]

    pipeline.sandbox.set_faults({})
    pipeline.clock.advance(seconds=31)
    pipeline.until(lambda: not pipeline.ledger.dispatch.throttled_accounts())
    pipeline.until(lambda: all(one.state is not State.QUEUED for one in pipeline.all()))


@pytest.mark.parametrize("provider", ["acedata", "ohmygpt", "mjproxy"])
def test_rescue_looks_into_the_lists_of_all_accounts(start: Start, provider: str) -> None:
    pipeline = start(callbacks=False)
    tasks = {}
    for account in ("studio", "shop"):
        mark = Mark("0123456789abcdef" * 2, None)
        request = GenerationRequest(operation=Operation.IMAGINE, prompt=f"a boat of the {account}")
        reply = send(pipeline.here.provider(provider, account), request, mark)
        assert isinstance(reply, Accepted)
        tasks[reply.task_id] = account
    result = darkroom("rescue", "--provider", provider, "--since", "24h", "--json")
    assert result.exit_code == 0, result.output
    pipeline.until_settled()
    assert {one.task_id: (one.account, one.state) for one in pipeline.all()} == {
        task_id: (account, State.ARCHIVED) for task_id, account in tasks.items()
    }


def test_rescue_takes_what_one_account_lists_while_the_other_has_no_key(start: Start) -> None:
    pipeline = start(callbacks=False)
    mark = Mark("0123456789abcdef" * 2, None)
    send(
        pipeline.here.provider("acedata", "shop"), GenerationRequest(operation=Operation.IMAGINE, prompt="a boat"), mark
    )
    pipeline.sandbox.set_keys({STUDIO: "invalid"})
    result = darkroom("rescue", "--provider", "acedata", "--since", "24h")
    assert result.exit_code == 1
    assert "some lists could not be read: acedata, account studio: " in result.output
    assert [one.account for one in pipeline.all()] == ["shop"]


def test_both_lists_are_compared_with_a_ledger_that_may_be_old(start: Start) -> None:
    pipeline = start(callbacks=False)
    pipeline.submit(*"abcd")
    pipeline.until_settled()
    document = json.loads(darkroom("reconcile", "--json").stdout)
    told = [
        (one["account"], one["tasks"], one["known"]) for one in document["providers"] if one["provider"] == "acedata"
    ]
    assert told == [("studio", 2, 2), ("shop", 2, 2)]


def test_the_account_is_shown_and_a_pause_and_a_lost_key_are_told(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = start()
    pipeline.sandbox.set_keys({STUDIO: "used-up"})
    ids = pipeline.submit(*"abcd", follow_up=("upscale1",))
    pipeline.until_settled()
    assert "to account shop" in darkroom("show", ids[0]).output
    assert json.loads(darkroom("show", ids[0], "--json").stdout)["attempts"][-1]["account"] == "shop"
    told = darkroom("doctor", "--json").stdout
    assert "acedata, account studio: paused since " in told
    assert "darkroom resume acedata --account studio" in told

    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "studio:key-of-the-studio")
    pipeline.ledger.dispatch.resume_account("acedata")
    pipeline.submit("waits", follow_up=())
    with pipeline.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE generations SET pinned = 'shop' WHERE state = 'queued'")
    told = darkroom("doctor", "--json").stdout
    assert "acedata has no key for account shop, which has open generations (1 queued)" in told
