"""Tests through the whole flow, beside generations that are paid for: neither server gets what is not its own."""

from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from sqlalchemy import update

from tests import process_services
from tests.commands import darkroom
from tests.pipeline import DONE, KEYS, Pipeline, Start
from webhook import sandbox
from webhook.sandbox import Sandbox
from worker.generation import GenerationRequest, Operation, State
from worker.ledger.generations import NewGeneration
from worker.ledger.schema import generations
from worker.providers import PROVIDERS
from worker.recipes import Recipe, load_recipe
from worker.secrets import SANDBOX_ACCOUNT
from worker.services import services


@pytest.fixture
def ours() -> Iterator[Sandbox]:
    """The sandbox; what the pipeline calls so is the provider that is paid."""
    with sandbox.running(delay=0.05, size=64) as running:
        yield running


def submit_tests(
    pipeline: Pipeline,
    *prompts: str,
    provider: str = "acedata",
    follow_up: tuple[str, ...] = (),
    recipe: Recipe | None = None,
) -> list[str]:
    wanted = [
        NewGeneration(
            provider=provider,
            request=GenerationRequest(operation=Operation.IMAGINE, prompt=prompt),
            follow_up=follow_up,
            recipe=recipe,
            is_test=True,
        )
        for prompt in prompts
    ]
    made = pipeline.ledger.generations.create(wanted)
    pipeline.bells.append("dispatch")
    return [generation.id for generation in made]


def until_settled(pipeline: Pipeline) -> None:
    """As the pipeline's own; nobody waits two seconds until the sandbox is asked."""

    def is_settled() -> bool:
        made = pipeline.all()
        if any(one.is_test and one.state is State.SUBMITTED for one in made):
            pipeline.clock.advance(seconds=0.2)
        return all(one.state in DONE for one in made) and not pipeline.ledger.maintenance.due()

    pipeline.until(is_settled)


def begin_anew(pipeline: Pipeline) -> None:
    """A process with the settings of now."""
    pipeline.here.close()
    process_services.forget()
    pipeline.here = services()
    pipeline.ledger = pipeline.here.ledger


def errors(pipeline: Pipeline, generation_id: str) -> list[str]:
    return [asset.error for asset in pipeline.assets(generation_id) if asset.error]


@pytest.mark.parametrize(("provider", "callbacks"), [*((provider, False) for provider in PROVIDERS), ("kie", True)])
def test_each_goes_where_it_belongs(start: Start, ours: Sandbox, provider: str, callbacks: bool) -> None:
    """The provider's links are allowed by a setting, the links of the sandbox by what they are."""
    pipeline = start(callbacks=callbacks, DARKROOM_SANDBOX_URL=ours.url)
    pipeline.submit("paid", provider=provider)
    tests = submit_tests(pipeline, "free", provider=provider, follow_up=("upscale1",))
    until_settled(pipeline)
    made = pipeline.all()
    assert [one.state for one in made] == [State.ARCHIVED] * 3
    assert {one.id for one in made if one.is_test} == {*tests, *(one.id for one in made if one.parent_id)}
    assert {one.account == SANDBOX_ACCOUNT for one in made if one.is_test} == {True}
    assert (pipeline.charges(), ours.bill()["charges"]) == (1, 2)
    # It may not reach the receiver, so it is polled.
    assert [line["callback_url"] for line in ours.bill()["lines"]] == [None, None]
    assert {entry["status"] for entry in ours.log("download")} == {200}


def test_a_test_follows_its_recipe_without_a_key_of_the_provider_and_without_prices(
    start: Start, ours: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "shop.yaml"
    step = "{id: best, after: archived, when: {operation: imagine}, pick: '1,2', do: upscale, max_cost: 0.01}"
    path.write_text(f"name: shop\nsteps: [{step}]\n")
    pipeline = start(callbacks=False, DARKROOM_SANDBOX_URL=ours.url)
    monkeypatch.delenv("ACEDATACLOUD_API_TOKEN")
    begin_anew(pipeline)
    (test,) = submit_tests(pipeline, "free", recipe=load_recipe(path))
    until_settled(pipeline)
    children = [one for one in pipeline.all() if one.parent_id == test]
    assert [(one.is_test, one.step, one.state) for one in children] == [(True, "best", State.ARCHIVED)] * 2
    assert (pipeline.charges(), ours.bill()["charges"]) == (0, 3)


def test_links_of_the_sandbox_are_only_for_tests(start: Start, ours: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = start(callbacks=False, DARKROOM_SANDBOX_URL=ours.url)
    # As it is where providers are public.
    monkeypatch.setenv("DARKROOM_DOWNLOAD_ALLOW", "")
    begin_anew(pipeline)
    (test,) = submit_tests(pipeline, "free")
    (paid,) = pipeline.submit("paid")
    pipeline.until(lambda: bool(errors(pipeline, paid)))
    pipeline.clock.advance(seconds=2)
    pipeline.until(lambda: pipeline.get(test).state is State.ARCHIVED)
    assert pipeline.get(paid).state is State.SUCCEEDED
    assert "not one of the provider's hosts" in errors(pipeline, paid)[0]


def test_without_an_address_tests_wait_and_no_provider_is_asked(
    start: Start, ours: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = start(callbacks=False)
    (test,) = submit_tests(pipeline, "free")
    (paid,) = pipeline.submit("paid")
    pipeline.until(lambda: pipeline.get(paid).state is State.ARCHIVED)
    assert (pipeline.get(test).state, pipeline.get(test).tries) == (State.QUEUED, 0)
    assert (pipeline.charges(), ours.bill()["charges"]) == (1, 0)


def test_a_test_under_way_is_not_asked_for_at_the_provider_when_the_address_is_gone(
    start: Start, ours: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = start(callbacks=False, DARKROOM_SANDBOX_URL=ours.url)
    (test,) = submit_tests(pipeline, "free sandbox:delay")
    pipeline.until(lambda: pipeline.get(test).state is State.SUBMITTED)
    here = pipeline.here
    monkeypatch.setattr(here, "settings", here.settings.model_copy(update={"darkroom_sandbox_url": None}))
    here._providers.clear()
    pipeline.clock.advance(minutes=5)
    pipeline.step("poll")
    assert pipeline.sandbox.log("query") == []
    assert pipeline.get(test).state is State.SUBMITTED


def test_a_test_that_the_sandbox_has_forgotten_fails_and_is_made_anew(start: Start, ours: Sandbox) -> None:
    pipeline = start(callbacks=False, DARKROOM_SANDBOX_URL=ours.url)
    (test,) = submit_tests(pipeline, "free sandbox:delay")
    pipeline.until(lambda: pipeline.get(test).state is State.SUBMITTED)
    urlopen(Request(f"{ours.url}/sandbox/reset", method="POST"), timeout=5).close()
    pipeline.clock.advance(seconds=61)
    pipeline.until(lambda: pipeline.get(test).state is State.FAILED)
    assert "the sandbox does not know it: it was restarted" in str(pipeline.get(test).message)
    assert darkroom("retry", test).exit_code == 0
    until_settled(pipeline)
    assert pipeline.get(test).state is State.ARCHIVED
    assert (pipeline.charges(), ours.bill()["charges"]) == (0, 1)


def test_nothing_is_sent_where_row_and_account_do_not_agree(start: Start, ours: Sandbox) -> None:
    """Which no code of ours writes."""
    pipeline = start(callbacks=False, DARKROOM_SANDBOX_URL=ours.url)
    (paid,) = pipeline.submit("paid")
    pipeline.step("dispatch")
    with pipeline.ledger.database.write() as connection:
        wrong = update(generations).where(generations.c.id == paid)
        connection.execute(wrong.values(account=SANDBOX_ACCOUNT))
    pipeline.step("submit")
    one = pipeline.get(paid)
    assert (one.state, one.reason) == (State.FAILED, "wrong_account")
    assert "a paid generation was dispatched to account _sandbox" in str(one.message)
    assert (pipeline.charges(), ours.bill()["charges"]) == (0, 0)


def test_an_unclear_test_is_found_in_the_list_of_the_sandbox(start: Start, ours: Sandbox) -> None:
    pipeline = start(DARKROOM_SANDBOX_URL=ours.url)
    (test,) = submit_tests(pipeline, "free sandbox:reset", provider="ohmygpt")
    pipeline.until(lambda: pipeline.get(test).state is State.UNCONFIRMED)
    pipeline.clock.advance(minutes=1)
    until_settled(pipeline)
    assert pipeline.get(test).state is State.ARCHIVED
    assert (pipeline.charges(), ours.bill()["charges"]) == (0, 1)
    assert pipeline.sandbox.log("query") == []


def test_whoever_has_no_key_can_submit_a_test(start: Start, ours: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = start(callbacks=False, DARKROOM_SANDBOX_URL=ours.url)
    for name in KEYS:
        monkeypatch.delenv(name)
    assert "ACEDATACLOUD_API_TOKEN is not set" in darkroom("submit", "a fox").output
    made = darkroom("submit", "--test", "a {red, blue} fox", "--provider", "kie,acedata")
    assert made.exit_code == 0, made.output
    begin_anew(pipeline)
    pipeline.bells.append("dispatch")
    until_settled(pipeline)
    assert [(one.state, one.provider, one.is_test) for one in pipeline.all()] == [(State.ARCHIVED, "kie", True)] * 2
    # Which nobody was asked to pay.
    assert (pipeline.charges(), ours.bill()["charges"]) == (0, 2)
