"""`darkroom submit` beyond one prompt for one picture: other operations, pictures, prompts of follow-ups."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.generation import Generation, Operation
from worker.ledger import Ledger

LINK = "images=https://a/b.png"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def only(ledger: Ledger) -> Generation:
    (generation,) = ledger.generations.page()
    return generation


@pytest.mark.parametrize(
    ("arguments", "operation", "prompt"),
    [
        (("--operation", "describe", "--option", LINK), Operation.DESCRIBE, ""),
        (("--operation", "blend", "--option", LINK, "--option", LINK), Operation.BLEND, ""),
        (("a fox", "--operation", "translate"), Operation.TRANSLATE, "a fox"),
        (("a fox runs", "--operation", "video", "--option", LINK), Operation.VIDEO, "a fox runs"),
    ],
)
def test_other_operations_take_a_prompt_where_they_need_one(
    darkroom: Darkroom, ledger: Ledger, arguments: tuple[str, ...], operation: Operation, prompt: str
) -> None:
    assert darkroom("submit", *arguments).exit_code == 0
    generation = only(ledger)
    assert (generation.operation, generation.prompt, generation.batch_id) == (operation, prompt, None)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--operation", "translate"), "the prompt is empty: translate needs one"),
        (("--operation", "describe"), "describe at Ace Data Cloud needs the option images"),
        (("a fox", "--operation", "describe", "--option", LINK), "describe accepts no prompt at Ace Data Cloud"),
        (("a fox", "--follow-up", "variation_region"), "follow-up 'variation_region': region at Ace Data Cloud needs"),
        (("a fox", "--follow-up", "upscale:all/variation9"), "unknown action 'variation9'"),
    ],
)
def test_what_an_operation_lacks_is_said_before_anything_is_written(
    darkroom: Darkroom, ledger: Ledger, arguments: tuple[str, ...], sentence: str
) -> None:
    result = darkroom("submit", *arguments)
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert ledger.generations.page() == []


def test_each_line_of_a_file_may_ask_another_provider_for_something_else(darkroom: Darkroom, ledger: Ledger) -> None:
    wishes = (
        {"operation": "describe", "options": {"images": "https://a/b.png"}},
        {"prompt": "a fox", "operation": "shorten"},
        {"prompt": "an owl", "provider": "acedata"},
    )
    file = "\n".join(json.dumps(wish) for wish in wishes)
    assert darkroom("submit", "-", "--operation", "translate", input=file).exit_code == 0
    assert [one.operation for one in reversed(ledger.generations.page())] == ["describe", "shorten", "translate"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"prompt": "a", "provider": "nobody"}, "line 2, column 1: unknown provider 'nobody'"),
        ({"prompt": "a", "operation": "shorten", "options": {"hd": 1}}, "line 2, column 1: Ace Data Cloud has no opt"),
        ({"prompt": "a", "operation": "upscale"}, "line 2, column operation: expected one of imagine, blend"),
        ({"operation": "shorten"}, "line 2, column 1: the prompt is empty: shorten needs one"),
    ],
)
def test_a_line_that_is_wrong_is_named(darkroom: Darkroom, ledger: Ledger, line: Any, sentence: str) -> None:
    result = darkroom("submit", "-", input='{"prompt": "a fox"}\n' + json.dumps(line))
    assert result.exit_code == 1
    assert f"standard input, {sentence}" in result.stderr
    assert ledger.generations.page() == []


def test_a_region_is_painted_anew_by_a_mask_of_this_machine_and_a_prompt_of_its_own(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path
) -> None:
    Image.effect_noise((100, 100), 50).save(tmp_path / "mask.png")
    content = base64.b64encode((tmp_path / "mask.png").read_bytes()).decode()
    parent = stories.archived(ledger)
    asked = ("submit", "a hat", "--parent", parent, "--action", "variation_region")
    assert "region at Ace Data Cloud needs the option mask" in darkroom(*asked).stderr
    (record,) = lines(darkroom(*asked, "--option", "mask=mask.png", "--json").stdout)
    (child,) = ledger.generations.get([record["id"]])
    assert (child.operation, child.prompt, child.parent_id) == (Operation.REGION, "a hat", parent)
    assert child.options["mask"] == [f"data:image/png;base64,{content}"]
    short = f"data:image/png;base64,… ({len(content) * 3 // 4000 + 1} kB)"
    assert record["options"] == {"mask": [short]}
    for shown in (("show", child.id), ("show", child.id, "--json"), ("list", "--json")):
        assert short in darkroom(*shown).stdout
        assert content[100:120] not in darkroom(*shown).stdout


def test_a_prompt_replaces_that_of_the_parent_only_where_one_is_taken(darkroom: Darkroom, ledger: Ledger) -> None:
    parent = stories.archived(ledger, actions=("upscale1", "seed", "extend1"))
    refused = darkroom("submit", "a hat", "--parent", parent, "--action", "seed")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "darkroom: seed accepts no prompt at Ace Data Cloud; leave it out\n",
    )
    assert darkroom("submit", "--parent", parent, "--action", "seed").exit_code == 0
    (record,) = lines(darkroom("submit", "it turns", "--parent", parent, "--action", "extend1", "--json").stdout)
    assert (record["operation"], record["prompt"]) == ("video_extend", "it turns")
