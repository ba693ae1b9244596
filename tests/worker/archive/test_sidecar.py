import json
import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

import worker.archive
from worker.archive import Verified
from worker.archive.sidecars import manifest_line, sidecar
from worker.generation import Asset, AssetKind, Generation, Lineage, Operation, State

NOON = datetime(2026, 11, 21, 12, 0, 0, 250000, tzinfo=UTC)


def some(kind: type, /, **facts: object):
    """One whose other facts, which no sidecar holds, are unknown."""
    return kind(**dict.fromkeys(field.name for field in fields(kind)) | facts)


GENERATION = some(
    Generation,
    id="gen_1",
    provider="acedata",
    operation=Operation.UPSCALE,
    action="upscale2",
    state=State.ARCHIVED,
    prompt="a cat, 猫",
    options={"mode": "fast", "aspect": "1:1"},
    batch_id="batch_1",
    parent_id="gen_0",
    depth=1,
    priority=5,
    key="My Cat",
    task_id="task-7",
    created_at=NOON,
    submitted_at=NOON + timedelta(seconds=1),
    providers=(),
    provider_changes=(),
    input={},
)

LINEAGE = Lineage(
    root_id="gen_0",
    root_key="Our Cats",
    root_version=1,
    root_created_at=datetime(2026, 11, 21, tzinfo=UTC),
    batch="cats",
)

ASSET = some(
    Asset,
    index=0,
    kind=AssetKind.IMAGE,
    url="https://cdn.discordapp.com/attachments/1/2/cat.png?ex=66&is=65&hm=SECRET#SECRET",
    object_key="2026/11/21/batch_1/gen_1/0.png",
    sha256="ab" * 32,
    bytes=1234,
    content_type="image/png",
    width=1024,
    height=768,
)


def schema(name: str) -> Draft202012Validator:
    text = (Path(worker.archive.__file__).parent / f"{name}.schema.json").read_text(encoding="utf-8")
    Draft202012Validator.check_schema(json.loads(text))
    return Draft202012Validator(json.loads(text))


def described(generation: Generation, *assets: Asset) -> dict:
    """A sidecar, which is what its schema says."""
    found = json.loads(sidecar(generation, assets, LINEAGE))
    schema("sidecar").validate(found)
    return found


def listed(generation: Generation, *assets: Asset) -> dict:
    """A line of a manifest, which is what its schema says."""
    found = json.loads(manifest_line(generation, assets, LINEAGE))
    schema("manifest").validate(found)
    return found


def test_the_sidecar_says_all_that_is_needed_without_the_ledger():
    assert described(GENERATION, ASSET) == {
        "schema": 5,
        "id": "gen_1",
        "key": "My Cat",
        "root_key": "Our Cats",
        "batch": "cats",
        "batch_id": "batch_1",
        "parent": "gen_0",
        "depth": 1,
        "provider": "acedata",
        "task_id": "task-7",
        "operation": "upscale",
        "action": "upscale2",
        "recipe": None,
        "step": None,
        "prompt": "a cat, 猫",
        "options": {"mode": "fast", "aspect": "1:1"},
        "priority": 5,
        "created_at": "2026-11-21T12:00:00.250Z",
        "submitted_at": "2026-11-21T12:00:01.250Z",
        "finished_at": None,
        "assets": [
            {
                "index": 0,
                "kind": "image",
                "object_key": "2026/11/21/batch_1/gen_1/0.png",
                "sha256": "ab" * 32,
                "bytes": 1234,
                "content_type": "image/png",
                "width": 1024,
                "height": 768,
                "seconds": None,
                "source": "https://cdn.discordapp.com/attachments/1/2/cat.png",
                "source_sha256": "ab" * 32,
                "verified": None,
                "remark": None,
                "accepted": None,
            }
        ],
    }


def test_a_follow_up_of_a_recipe_says_which_step_made_it():
    found = described(replace(GENERATION, recipe="ab" * 32, recipe_name="shop", step="best"), ASSET)
    assert (found["recipe"], found["step"]) == ("shop", "best")


@pytest.mark.parametrize("how", Verified)
def test_the_sidecar_says_what_has_shown_that_the_bytes_are_there(how: Verified):
    found = json.loads(sidecar(GENERATION, [ASSET, replace(ASSET, index=1, verified=how)], LINEAGE))
    schema("sidecar").validate(found)
    assert [one["verified"] for one in found["assets"]] == [None, how]


def test_the_sidecar_says_what_is_odd_about_an_asset():
    odd = replace(ASSET, index=1, remark="1 byte follows after its end")
    found = json.loads(sidecar(GENERATION, [ASSET, odd], LINEAGE))
    schema("sidecar").validate(found)
    assert [one["remark"] for one in found["assets"]] == [None, "1 byte follows after its end"]


def test_a_film_a_text_and_a_marked_picture_are_described_as_what_they_are():
    film = replace(ASSET, index=1, kind=AssetKind.VIDEO, content_type="video/mp4", seconds=5.2)
    text = replace(
        ASSET, index=2, kind=AssetKind.TEXT, content_type="application/json", url="", width=None, height=None
    )
    marked = replace(ASSET, index=3, source_sha256="cd" * 32)
    found = described(GENERATION, film, text, marked)["assets"]
    assert [(one["kind"], one["seconds"], one["source"] is None) for one in found] == [
        ("video", 5.2, False),
        ("text", None, True),
        ("image", None, False),
    ]
    assert [(one["sha256"], one["source_sha256"]) for one in found][2] == ("ab" * 32, "cd" * 32)


@pytest.mark.parametrize(
    "wrong",
    [{"sha256": "AB" * 32}, {"object_key": None}, {"bytes": "1234"}, {"kind": "picture"}, {"signature": "SECRET"}],
)
def test_the_schema_refuses_what_no_sidecar_says(wrong: dict):
    found = described(GENERATION, ASSET)
    found["assets"][0] |= wrong
    with pytest.raises(ValidationError):
        schema("sidecar").validate(found)


def test_the_page_about_them_names_every_field_and_the_present_schema():
    page = (Path(worker.archive.__file__).parents[2] / "deploy" / "SIDECAR.md").read_text(encoding="utf-8")
    for name in ("sidecar", "manifest"):
        fields = schema(name).schema["properties"]
        assert f"schema {fields['schema']['const']}" in page
        for field in (*fields, *fields["assets"]["items"]["properties"]):
            assert re.search(rf"`{field}`", page), field


def test_a_line_of_a_manifest_tells_of_failures_too_and_of_no_secret():
    message = "https://cdn.discordapp.com/attachments/1/2/cat.png?ex=66&is=65&hm=SECRET answers with 403"
    failed = replace(GENERATION, state=State.FAILED, reason="forbidden", message=message)
    lost = replace(ASSET, object_key=None, sha256=None, bytes=None, content_type=None, error=message)
    found = listed(failed, lost)
    assert (found["state"], found["reason"], found["task_id"]) == ("failed", "forbidden", "task-7")
    assert "answers with 403" in found["message"]
    assert "answers with 403" in found["assets"][0]["error"]
    assert b"SECRET" not in manifest_line(failed, [lost], LINEAGE)


@given(prompt=st.text() | st.sampled_from("\x85\u2028\u2029\x1e\r\ud800"))
def test_a_line_of_a_manifest_is_one_line_for_every_reader(prompt: str):
    line = manifest_line(replace(GENERATION, prompt=prompt), [ASSET], LINEAGE)
    assert line.endswith(b"\n")
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line)["prompt"] == prompt


def test_the_same_facts_give_the_same_bytes_in_whatever_order_they_come():
    second = replace(ASSET, id=2, index=1)
    shuffled = replace(
        GENERATION,
        options={"aspect": "1:1", "mode": "fast"},
        created_at=NOON.astimezone(timezone(timedelta(hours=9))),
        updated_at=NOON + timedelta(hours=1),
    )
    assert sidecar(GENERATION, [ASSET, second], LINEAGE) == sidecar(shuffled, [second, ASSET], LINEAGE)


def test_a_picture_that_was_sent_along_is_told_by_its_kind_and_size():
    generation = replace(
        GENERATION, options={"images": [f"data:image/png;base64,{'iVBORw0K' * 1000}", "https://a/b.png"]}
    )
    assert described(generation, ASSET)["options"] == {"images": ["data:image/png;base64,… (6 kB)", "https://a/b.png"]}


def test_a_signed_link_in_what_the_user_wrote_loses_its_query_in_sidecar_and_manifest():
    signed = "https://cdn.discordapp.com/a/b.png?ex=66&hm=SECRET"
    wanted = replace(GENERATION, prompt=f"{signed} a cat", options={"images": [signed, "https://x.example/c.png?w=1"]})
    document = json.loads(sidecar(wanted, [ASSET], LINEAGE))
    assert document["prompt"] == "https://cdn.discordapp.com/a/b.png a cat"
    assert document["options"] == {"images": ["https://cdn.discordapp.com/a/b.png", "https://x.example/c.png?w=1"]}
    assert json.loads(manifest_line(wanted, [ASSET], LINEAGE))["prompt"] == document["prompt"]


def test_other_languages_stay_readable():
    assert "猫".encode() in sidecar(GENERATION, [], LINEAGE)


@pytest.mark.parametrize("url", ["https://user:SECRET@host:8443/a.png?token=SECRET", "HTTPS://host/a.png#SECRET"])
def test_no_secret_of_a_link_is_written_down(url: str):
    written = sidecar(GENERATION, [replace(ASSET, url=url)], LINEAGE)
    assert b"SECRET" not in written
    assert b"/a.png" in written


@pytest.mark.parametrize("url", ["", "https://[broken/a.png", "data:image/png;base64,SECRET"])
def test_what_is_no_web_link_is_no_source(url: str):
    assert described(GENERATION, replace(ASSET, url=url))["assets"][0]["source"] is None


TEXT = st.text() | st.characters(categories=["Cs"])


@given(prompt=TEXT, url=TEXT, options=st.dictionaries(TEXT, TEXT | st.integers() | st.booleans() | st.none()))
@example(prompt="\ud800", url="http://\ud800", options={"\udfff": "\\ud800"})
def test_any_text_survives(prompt: str, url: str, options: dict[str, object]):
    written = json.loads(
        sidecar(replace(GENERATION, prompt=prompt, options=options), [replace(ASSET, url=url)], LINEAGE)
    )
    assert written["prompt"] == prompt
    assert written["options"] == options
