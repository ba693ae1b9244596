"""What agents can do, without the protocol."""

from pathlib import Path
from typing import Any

import pytest

from tasks.mcp.tools import MOST_LISTED, Tools
from tasks.usecases import views
from tasks.usecases.queries import ListRequest
from tests.factories import at_once
from tests.patience import wait_for
from tests.tasks.cli import stories
from tests.tasks.cli.test_spend import FILE, story
from worker.errors import ConfigurationError, NotFound, RequestInvalid
from worker.ledger import Ledger
from worker.services import Services
from worker.settings.settings import load_settings


def test_a_generation_is_created_and_dispatch_woken(tools: Tools, ledger: Ledger, bells: list[str]) -> None:
    answer = tools.generate("the hat", {"prompt": "a hat", "options": {"version": "7"}, "labels": {"client": "acme"}})
    (one,) = ledger.generations.page()
    assert (answer["id"], answer["key"], answer["state"], answer["is_new"]) == (one.id, "the hat", "queued", True)
    assert answer["next"] == f"running; call `get` with the id {one.id} in a minute, do not generate again"
    assert wait_for(lambda: bells == ["dispatch"], seconds=10)


def test_the_same_key_is_the_same_generation_however_often(tools: Tools, ledger: Ledger, bells: list[str]) -> None:
    answers = at_once(*[lambda: tools.generate("the hat", {"prompt": "a hat"})] * 6)
    (one,) = ledger.generations.page()
    assert {answer["id"] for answer in answers if isinstance(answer, dict)} == {one.id}
    assert not any(isinstance(answer, Exception) for answer in answers)
    again = tools.generate("the hat", {"prompt": "a hat"})
    assert (again["id"], again["is_new"]) == (one.id, False)


@pytest.mark.parametrize(
    ("key", "asked", "words"),
    [
        ("", {"prompt": "a hat"}, "client_key is empty: invent a key"),
        ("k", {"prompt": "a {red, blue} hat"}, "the prompt makes 2 generations"),
        ("k", {"prompt": "a hat", "options": {"speed": "warp"}}, "invalid value 'warp'"),
        ("k", {"prompt": "a hat", "provider": "nobody"}, "unknown provider 'nobody'"),
    ],
)
def test_a_mistake_is_one_sentence_and_creates_nothing(
    tools: Tools, ledger: Ledger, bells: list[str], key: str, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises((RequestInvalid, ConfigurationError), match=words):
        tools.generate(key, asked)
    assert (ledger.generations.page(), bells) == ([], [])


def test_the_key_of_another_request_is_refused(tools: Tools) -> None:
    tools.generate("the hat", {"prompt": "a hat"})
    with pytest.raises(RequestInvalid, match="the key 'the hat' already belongs to"):
        tools.generate("the hat", {"prompt": "another hat"})


def test_what_is_archived_has_links_that_no_document_has(tools: Tools, ledger: Ledger) -> None:
    generation_id = stories.archived(ledger, key="the hat")
    answer = tools.get("the hat")
    assert (answer["id"], answer["state"]) == (generation_id, "archived")
    (link,) = answer["links"]
    assert link["index"] == 0
    assert "X-Amz-Signature=" in link["url"]
    assert answer["next"].startswith("it is done")
    assert "X-Amz-Signature=" not in str(views.of_generation(*one_of(tools, ledger, generation_id)))


def one_of(tools: Tools, ledger: Ledger, generation_id: str) -> Any:
    return ledger.generations.get([generation_id])[0], ledger.generations.lineages([generation_id])[generation_id]


def test_without_a_bucket_there_are_no_links(
    tools: Tools, here: Services, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation_id = stories.archived(ledger)
    monkeypatch.delenv("S3_BUCKET")
    here.settings = load_settings()
    assert tools.get(generation_id)["links"] == []


def test_what_failed_says_that_only_another_request_helps(tools: Tools, ledger: Ledger) -> None:
    answer = tools.get(stories.failed(ledger))
    assert answer["next"] == (
        "it failed: read `message` and `failure`; only a changed request with a new client_key can succeed"
    )
    assert stories.SIGNATURE not in str(answer)


def test_what_may_have_been_charged_is_for_a_person(tools: Tools, ledger: Ledger) -> None:
    assert "a person must decide; do not generate it again" in tools.get(stories.unconfirmed(ledger))["next"]


def test_an_unknown_one_is_not_found(tools: Tools) -> None:
    with pytest.raises(NotFound, match="there is no generation 'nothing'"):
        tools.get("nothing")


def test_lists_are_short_and_say_if_there_is_more(tools: Tools, ledger: Ledger) -> None:
    stories.queued(ledger, *(f"fox {number}" for number in range(MOST_LISTED + 1)))
    answer = tools.list(ListRequest(limit=2))
    assert ([one["prompt"] for one in answer["data"]], answer["more"]) == (["fox 50", "fox 49"], True)
    assert len(tools.list(ListRequest(limit=None))["data"]) == MOST_LISTED
    assert tools.list(ListRequest(search="fox 7", limit=20))["more"] is False


def test_spend_tells_what_each_budget_has_left(
    tools: Tools, here: Services, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = tools.spend("day", 30)
    assert nothing["caps"] == []
    assert nothing["next"].startswith("no budget is set")
    path = tmp_path / "prices.yaml"
    path.write_text(FILE)
    monkeypatch.setenv("DARKROOM_PRICES", str(path))
    here.settings = load_settings()
    story(ledger, path)
    answer = tools.spend("provider", 30)
    assert [(cap["budget"], cap["left"]) for cap in answer["caps"]][:1] == [("day", "0.00")]
    assert answer["next"] == "`caps` has what each budget has left"
    with pytest.raises(RequestInvalid, match="days must be from 1 to 3650"):
        tools.spend("day", 0)
    with pytest.raises(RequestInvalid, match="cannot group by 'colour'"):
        tools.spend("colour", 30)
