"""The form of prompts: what is wrong stands at its field, nothing typed is lost, and one form creates once."""

import io
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from tests.tasks.cli.stories import archived, queued
from tests.webhook.console.asking import get, mistake_at, post, words
from tests.webhook.console.conftest import at_work_with
from webhook.api.app import create_app
from worker.generation import Generation, Operation, State
from worker.ledger import Ledger
from worker.services import Services

PRICES = """
currency: EUR
prices:
  - {provider: acedata, price: 0.05}
caps:
  day: 0.12
"""
HOSTILE = '"><script>alert(1)</script> <img src=x onerror=alert(2)>'
OTHER = "another-key-of-a-form-123"


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """No database matters here."""
    return sqlite_url


@pytest.fixture
def priced(services_for: Callable[..., Services], rung: list[str], tmp_path: Path) -> FlaskClient:
    assert rung == []
    (tmp_path / "prices.yaml").write_text(PRICES)
    here = services_for(darkroom_prices=tmp_path / "prices.yaml", darkroom_sandbox_url="http://127.0.0.1:9")
    return at_work_with(create_app(here))


def send(client: FlaskClient, path: str = "/submit", **fields: Any) -> TestResponse:
    options = {f"option.{name}": value for name, value in fields.pop("options", {}).items()}
    more = {**options, **fields.pop("more", {})}
    given = {"provider": "acedata", "operation": "imagine", "prompts": "a red fox", **fields}
    return post(client, path, more=more, **given)


def all_of(ledger: Ledger) -> list[Generation]:
    return ledger.generations.page(limit=100)[::-1]


def value_of(answer: TestResponse, name: str) -> str:
    found = re.search(rf'<input id="f-{name}"[^>]*? value="([^"]*)"', answer.text)
    assert found is not None, name
    return found[1]


def picture(content_type: str = "PNG") -> io.BytesIO:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(file, content_type)
    file.seek(0)
    return file


# --- the form


def test_the_form_has_the_options_of_the_provider_that_is_set_up(client: FlaskClient) -> None:
    shown = get(client, "/submit")
    assert "One generation per line." in words(shown)
    assert '<option value="acedata" selected>' in shown.text
    assert re.search(r'<option value="ohmygpt" disabled>[^<]*\(not set up\)', shown.text)
    for name in ("aspect_ratio", "version", "speed", "stylize", "seed", "hd"):
        assert f'id="f-option-{name}"' in shown.text, name
    assert 'value="acedata,kie"' in shown.text


def test_another_provider_has_other_options_and_keeps_what_it_takes(client: FlaskClient) -> None:
    fields: dict[str, Any] = {"provider": "kie", "options": {"chaos": "20", "seed": "7"}}
    shown = send(client, "/submit/options", fragment=True, **fields)
    assert value_of(shown, "option-chaos") == "20"
    assert 'id="f-option-watermark"' in shown.text
    assert "Not available here, and left out: seed: 7." in words(shown)
    # Without scripts, the same is the whole page.
    assert value_of(send(client, "/submit/options", **fields), "option-chaos") == "20"


def test_what_exists_is_filled_in_to_be_changed(client: FlaskClient, ledger: Ledger) -> None:
    send(
        client, prompts=HOSTILE, options={"aspect_ratio": "16:9", "hd": "true"}, labels="client=acme", priority="3",
        follow_up="upscale1", key="order-7",
    )  # fmt: skip
    (one,) = all_of(ledger)
    shown = get(client, f"/submit?from={one.id}")
    assert "<script>alert" not in shown.text
    assert "&lt;script&gt;alert(1)" in shown.text
    assert value_of(shown, "option-aspect_ratio") == "16:9"
    assert '<option value="true" selected>' in shown.text
    assert ">client=acme</textarea>" in shown.text
    assert (value_of(shown, "priority"), value_of(shown, "follow_up")) == ("3", "upscale1")
    # Another one needs a key of its own.
    assert value_of(shown, "key") == ""


# --- the check


def test_a_check_tells_cost_and_budget_and_writes_nothing(priced: FlaskClient, ledger: Ledger) -> None:
    said = words(send(priced, "/submit/check", fragment=True, prompts="a red fox\n\nan owl\n a bear"))
    assert "0.15 EUR for 3 generations" in said
    assert "0.15 EUR needed, 0.12 EUR of 0.12 EUR left; the rest waits until there is room." in said
    assert all_of(ledger) == []
    assert ledger.access.actions() == []


def test_a_price_that_is_not_known_says_so(client: FlaskClient) -> None:
    assert "Price unknown for 1 generation" in words(send(client, "/submit/check", fragment=True))


def test_what_is_odd_about_a_prompt_is_told_and_does_not_stop_it(client: FlaskClient) -> None:
    said = words(send(client, "/submit/check", fragment=True, prompts="a fox\nan owl --foo 3"))
    assert "line 2, column 8: --foo is not a Midjourney parameter" in said


def test_each_mistake_of_a_check_stands_at_its_field_and_goes_when_it_is_corrected(client: FlaskClient) -> None:
    wrong: dict[str, Any] = {"options": {"stylize": "5000", "aspect_ratio": "wide"}, "labels": "Client=acme"}
    found = send(client, "/submit/check", fragment=True, **wrong)
    assert mistake_at(found, "labels").startswith("label name 'Client'")
    found = send(client, "/submit/check", fragment=True, options=wrong["options"])
    assert mistake_at(found, "option-stylize") == "invalid value '5000', expected an integer from 0 to 1000"
    assert mistake_at(found, "option-aspect_ratio").startswith("invalid value 'wide'")
    assert (mistake_at(found, "labels"), mistake_at(found, "prompts")) == ("", "")
    assert found.text.count('hx-swap-oob="true"') > 10


def test_nothing_is_wrong_with_a_form_in_which_nothing_stands_yet(client: FlaskClient) -> None:
    found = send(client, "/submit/check", fragment=True, prompts=" ")
    assert "The cost appears here as you type." in words(found)
    assert mistake_at(found, "prompts") == ""


def test_without_scripts_a_check_is_the_whole_page(priced: FlaskClient, ledger: Ledger) -> None:
    found = send(priced, "/submit/check", options={"stylize": "5000"})
    assert value_of(found, "option-stylize") == "5000"
    assert mistake_at(found, "option-stylize").startswith("invalid value '5000'")
    assert all_of(ledger) == []


# --- submitting


def test_one_prompt_is_a_generation_with_all_that_was_asked_for(
    client: FlaskClient, ledger: Ledger, rung: list[str]
) -> None:
    made = send(
        client, prompts="a red fox --weird 5", options={"aspect_ratio": "16:9", "hd": "true", "speed": ""},
        labels="client=acme\nseason = spring", key="order-7", priority="5", follow_up="upscale1",
        provider="acedata,kie",
    )  # fmt: skip
    (one,) = all_of(ledger)
    assert (made.status_code, made.headers["Location"]) == (303, f"/generations/{one.id}")
    assert (one.prompt, one.key, one.priority, one.follow_up) == ("a red fox --weird 5", "order-7", 5, ("upscale1",))
    assert (one.provider, one.options) == ("acedata", {"aspect_ratio": "16:9", "hd": "true"})
    assert ledger.generations.labels_of([one.id])[one.id] == {"client": "acme", "season": "spring"}
    assert ledger.generations.transitions_of([one.id])[one.id][0].cause == "created by local (console)"
    assert rung == ["dispatch"]


def test_several_prompts_are_a_batch(client: FlaskClient, ledger: Ledger) -> None:
    made = send(client, prompts="a red fox\r\n\r\n an owl \r\n", batch="animals")
    fox, owl = all_of(ledger)
    assert (fox.prompt, owl.prompt) == ("a red fox", "an owl")
    assert made.headers["Location"] == f"/batches/{fox.batch_id}"
    assert ledger.generations.batch_facts(str(fox.batch_id)).name == "animals"


def test_a_test_run_is_made_by_the_sandbox_at_no_cost(priced: FlaskClient, ledger: Ledger) -> None:
    assert "Free test run in the sandbox" in words(send(priced, "/submit/check", fragment=True, is_test="on"))
    assert send(priced, is_test="on").status_code == 303
    (one,) = all_of(ledger)
    assert one.is_test


def test_what_would_cost_too_much_is_refused_at_its_field(priced: FlaskClient, ledger: Ledger) -> None:
    refused = send(priced, prompts="a\nb", max_cost="0.09")
    assert refused.status_code == 422
    assert mistake_at(refused, "max_cost").startswith("it may cost 0.10 EUR, above its max_cost of 0.09 EUR")
    assert all_of(ledger) == []
    assert send(priced, prompts="a\nb", max_cost="0.10").status_code == 303


@pytest.mark.parametrize(
    ("fields", "name", "told"),
    [
        ({"prompts": ""}, "prompts", "the prompt is empty"),
        ({"prompts": "a fox\nan owl --ar wide"}, "prompts", "line 2: option aspect_ratio: invalid value 'wide'"),
        ({"options": {"stylize": "5000"}}, "option-stylize", "invalid value '5000'"),
        ({"operation": "video"}, "option-images", "video at Ace Data Cloud needs the option images"),
        ({"key": "7", "prompts": "a\nb"}, "key", "a key names one generation"),
        ({"labels": "acme"}, "labels", "label 'acme' is not of the form name=value"),
        ({"priority": "high"}, "priority", "enter a whole number"),
        ({"max_cost": "much"}, "max_cost", "enter an amount such as 2.50"),
        ({"max_cost": "1"}, "max_cost", "max_cost needs prices"),
        ({"follow_up": "grow"}, "follow_up", "follow-up 'grow'"),
        ({"provider": "nobody"}, "provider", "unknown provider 'nobody'"),
        ({"provider": "ohmygpt"}, "provider", "OHMYGPT_API_KEY is not set"),
        ({"operation": "dance"}, "operation", "there is no operation 'dance'"),
        ({"prompts": "a fox\n" * 1001}, "prompts", "1,001 prompts, but the limit is 1,000"),
    ],
)
def test_a_mistake_stands_at_its_field_which_has_the_focus_and_nothing_is_lost(
    client: FlaskClient, ledger: Ledger, fields: dict[str, Any], name: str, told: str
) -> None:
    typed = {"prompts": "a red fox", "labels": "client=acme", "priority": "3", **fields}
    refused = send(client, **typed)
    assert refused.status_code == 422
    assert all_of(ledger) == []
    assert mistake_at(refused, name).startswith(told), mistake_at(refused, name)
    control = re.search(rf'<\w+[^>]* id="f-{name}"[^>]*>', refused.text)
    assert control is not None
    assert 'aria-invalid="true"' in control[0]
    assert f"m-{name}" in control[0]
    assert "autofocus" in control[0]
    assert refused.text.count("autofocus") == 1
    for word in ("client=acme", ">a red fox</textarea>") if "prompts" not in fields and "labels" not in fields else ():
        assert word in refused.text


@pytest.mark.parametrize(
    ("wrong", "name", "told"),
    [
        ({"key": "k" * 10_000}, "key", "10,000 characters, but the limit is 512"),
        ({"key": "k\0"}, "key", "which cannot be stored"),
        ({"batch": "b" * 256}, "batch", "256 characters, but the limit is 255"),
        ({"batch": "b\0"}, "batch", "which cannot be stored"),
        ({"priority": str(2**31)}, "priority", "from -2147483648 to 2147483647"),
        ({"priority": str(-(2**31) - 1)}, "priority", "from -2147483648 to 2147483647"),
        ({"recipe": "gone"}, "recipe", "DARKROOM_RECIPES is not set"),
    ],
)
def test_what_the_ledger_cannot_hold_is_told_at_its_field(
    client: FlaskClient, ledger: Ledger, wrong: dict[str, str], name: str, told: str
) -> None:
    answer = send(client, **wrong)
    assert answer.status_code == 422
    assert told in mistake_at(answer, name)
    assert all_of(ledger) == []


def test_the_kinds_of_images_are_told_once(client: FlaskClient) -> None:
    for operation in ("imagine", "blend", "edit", "describe"):
        fragment = send(client, "/submit/options", operation=operation, fragment=True)
        assert words(fragment).count("PNG, JPEG or WebP") == 1, operation
        described = set(re.findall(r'aria-describedby="(h-pictures[^"]*)"', fragment.text))
        assert described
        for one in " ".join(described).split():
            assert f'id="{one}"' in fragment.text


def test_an_operation_without_a_prompt_says_so_at_the_prompt(client: FlaskClient) -> None:
    told = "This operation takes no prompt"
    assert told in words(send(client, "/submit/options", operation="describe", fragment=True))
    assert told in words(send(client, "/submit/options", operation="describe"))
    assert told not in words(send(client, "/submit/options", fragment=True))


def test_what_is_wrong_and_hostile_is_only_text(client: FlaskClient) -> None:
    refused = send(client, prompts=HOSTILE, labels=HOSTILE, options={"stylize": HOSTILE, HOSTILE: HOSTILE}, key=HOSTILE)
    assert refused.status_code == 422
    assert "<script>alert" not in refused.text
    assert "<img src=x" not in refused.text
    assert "&lt;script&gt;alert(1)" in refused.text


# --- once


def test_a_double_click_creates_one_and_both_see_it(client: FlaskClient, ledger: Ledger, rung: list[str]) -> None:
    first, again = send(client), send(client)
    (one,) = all_of(ledger)
    assert first.headers["Location"] == f"/generations/{one.id}"
    assert again.headers["Location"] == f"/generations/{one.id}?sent=before"
    assert rung == ["dispatch"]


def test_forms_at_once_create_one_batch(services_for: Callable[..., Services], rung: list[str], ledger: Ledger) -> None:
    assert rung == []
    app = create_app(services_for())
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(send, at_work_with(app), prompts="a fox\nan owl") for _ in range(8)]
        answers = [one.result() for one in asked]
    assert {one.status_code for one in answers} == {303}
    assert len({one.headers["Location"].partition("?")[0] for one in answers}) == 1
    assert [one.prompt for one in all_of(ledger)] == ["a fox", "an owl"]


def test_whoever_goes_back_and_changes_the_form_asks_for_something_else(client: FlaskClient, ledger: Ledger) -> None:
    for prompt in ("a fox", "an owl", "a fox"):
        assert send(client, prompts=prompt).status_code == 303
    assert [one.prompt for one in all_of(ledger)] == ["a fox", "an owl"]


def test_the_same_in_a_new_form_is_wanted_again(client: FlaskClient, ledger: Ledger) -> None:
    send(client)
    send(client, once=OTHER)
    assert len(all_of(ledger)) == 2


def test_what_was_refused_can_be_corrected_in_the_same_form(client: FlaskClient, ledger: Ledger) -> None:
    assert send(client, options={"stylize": "5000"}).status_code == 422
    assert send(client, options={"stylize": "500"}).status_code == 303
    assert len(all_of(ledger)) == 1


def test_after_a_death_between_commit_and_answer_the_same_form_creates_nothing_new(
    services_for: Callable[..., Services], rung: list[str], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rung == []

    def dies(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("webhook.console.submitting.made", dies)
        with pytest.raises(SystemExit):
            send(at_work_with(create_app(services_for())))
    (one,) = all_of(ledger)
    again = send(at_work_with(create_app(services_for())))
    assert again.headers["Location"] == f"/generations/{one.id}?sent=before"
    assert all_of(ledger) == [one]


def test_each_page_has_a_form_with_a_key_of_its_own(client: FlaskClient) -> None:
    keys = {key for _ in range(2) for key in re.findall(r'name="once" value="([\w-]+)"', get(client, "/submit").text)}
    assert len(keys) == 4


# --- pictures


def test_a_picture_is_stored_and_stands_in_the_form(client_with_bucket: FlaskClient, ledger: Ledger) -> None:
    added = post(client_with_bucket, "/submit/pictures", fragment=True, more={"file.images": (picture(), "<b>fox.png")})
    assert added.status_code == 200
    (reference,) = re.findall(r'name="option\.images" value="(input:[0-9a-f]{64}\.png)" checked', added.text)
    shown = get(client_with_bucket, re.findall(r'src="(/submit/pictures/\w+)"', added.text)[0])
    assert shown.status_code == 302
    assert "max-age" in shown.headers["Cache-Control"]
    made = send(client_with_bucket, operation="video", options={"images": reference})
    assert made.status_code == 303, words(made)
    (one,) = all_of(ledger)
    assert (one.operation, one.options) == (Operation.VIDEO, {"images": [reference]})


def test_without_scripts_a_picture_comes_with_the_form_and_is_kept_when_something_else_is_wrong(
    client_with_bucket: FlaskClient, ledger: Ledger
) -> None:
    refused = send(client_with_bucket, operation="video", prompts="", more={"file.images": (picture(), "fox.png")})
    assert refused.status_code == 422
    (reference,) = re.findall(r'name="option\.images" value="(input:\w+\.png)" checked', refused.text)
    assert send(client_with_bucket, operation="video", options={"images": reference}).status_code == 303
    assert len(all_of(ledger)) == 1


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (io.BytesIO(b"no picture"), "<b>fox.png"),
        (picture(), "the limit is 0 MB"),
    ],
)
def test_what_is_no_picture_is_told_where_it_was_chosen(
    client_with_bucket: FlaskClient, monkeypatch: pytest.MonkeyPatch, file: io.BytesIO, told: str
) -> None:
    monkeypatch.setattr("tasks.usecases.uploads.LARGEST_UPLOAD", 20)
    added = post(client_with_bucket, "/submit/pictures", fragment=True, more={"file.images": (file, "<b>fox.png")})
    assert added.status_code == 422
    assert told in words(added) or told.replace("<", "&lt;").replace(">", "&gt;") in added.text
    assert "<b>" not in added.text


def test_a_form_that_is_too_large_is_refused_before_it_is_read(
    client_with_bucket: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webhook.console.guard._LARGEST_FORM", 1000)
    assert post(client_with_bucket, "/generations/gen_1/actions", action="x" * 2000).status_code == 413


# --- follow-ups


def test_a_follow_up_can_be_changed_first(client: FlaskClient, ledger: Ledger) -> None:
    parent = archived(ledger, actions=("variation1", "upscale1"))
    shown = get(client, f"/submit?follows={parent}&action=variation1&index=0")
    assert "Follow up" in words(shown)
    assert ">a fox</textarea>" in shown.text
    assert '<option value="variation1" selected>' in shown.text
    fields: dict[str, Any] = {
        "follows": parent,
        "action": "variation1",
        "prompts": "an owl\nat night",
        "options": {"speed": "fast"},
    }
    assert "for 1 generation" in words(send(client, "/submit/check", fragment=True, **fields))
    made = send(client, **fields)
    (child, _) = ledger.generations.family(parent)
    assert made.headers["Location"] == f"/generations/{child.id}"
    assert (child.action, child.prompt, child.options) == ("variation1", "an owl\nat night", {"speed": "fast"})
    again = get(client, f"/submit?from={child.id}").text
    assert f'name="follows" value="{parent}"' in again
    assert "an owl\nat night</textarea>" in again


def test_a_follow_up_that_is_not_possible_is_told_at_its_field(client: FlaskClient, ledger: Ledger) -> None:
    (parent,) = queued(ledger)
    refused = send(client, follows=parent.id, action="upscale1", prompts="")
    assert refused.status_code == 422
    assert "a follow-up needs an archived parent" in words(refused)
    assert parent.state is State.QUEUED


def test_a_video_of_a_picture_belongs_to_its_family(client_with_bucket: FlaskClient, ledger: Ledger) -> None:
    parent = archived(ledger, actions=("upscale1",))
    shown = get(client_with_bucket, f"/submit?follows={parent}&action=video&index=0")
    assert "option.images" not in shown.text
    made = send(
        client_with_bucket, follows=parent, action="video", index="0", prompts="the fox runs", options={"loop": "true"}
    )
    assert made.status_code == 303, words(made)
    (film, _) = ledger.generations.family(parent)
    assert (film.operation, film.action, film.parent_id) == (Operation.VIDEO, None, parent)
    assert film.options == {"loop": "true", "images": [f"input:{'ab' * 32}.png"]}
    again = get(client_with_bucket, f"/submit?from={film.id}").text
    assert 'name="index" value="0"' in again
    assert '<option value="video" selected>' in again
