import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.archive import sidecar
from worker.generation import Asset, Generation, Operation

NOON = datetime(2026, 11, 21, 12, 0, 0, 250000, tzinfo=UTC)


def some(kind: type, **facts: object):
    """One whose other facts, which no sidecar holds, are unknown."""
    return kind(**dict.fromkeys(field.name for field in fields(kind)) | facts)


GENERATION = some(
    Generation,
    id="gen_1",
    provider="acedata",
    operation=Operation.UPSCALE,
    action="upscale2",
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
)

ASSET = some(
    Asset,
    index=0,
    url="https://cdn.discordapp.com/attachments/1/2/cat.png?ex=66&is=65&hm=SECRET#SECRET",
    key="2026/11/21/batch_1/gen_1/0.png",
    sha256="ab" * 32,
    bytes=1234,
    content_type="image/png",
    width=1024,
    height=768,
)


def test_the_sidecar_says_all_that_is_needed_without_the_ledger():
    assert json.loads(sidecar(GENERATION, [ASSET])) == {
        "schema": 1,
        "id": "gen_1",
        "custom_key": "My Cat",
        "batch": "batch_1",
        "parent": "gen_0",
        "depth": 1,
        "provider": "acedata",
        "task_id": "task-7",
        "operation": "upscale",
        "action": "upscale2",
        "prompt": "a cat, 猫",
        "options": {"mode": "fast", "aspect": "1:1"},
        "priority": 5,
        "created_at": "2026-11-21T12:00:00.250Z",
        "submitted_at": "2026-11-21T12:00:01.250Z",
        "finished_at": None,
        "assets": [
            {
                "index": 0,
                "key": "2026/11/21/batch_1/gen_1/0.png",
                "sha256": "ab" * 32,
                "bytes": 1234,
                "content_type": "image/png",
                "width": 1024,
                "height": 768,
                "source": "https://cdn.discordapp.com/attachments/1/2/cat.png",
            }
        ],
    }


def test_the_same_facts_give_the_same_bytes_in_whatever_order_they_come():
    second = replace(ASSET, id=2, index=1)
    shuffled = replace(
        GENERATION,
        options={"aspect": "1:1", "mode": "fast"},
        created_at=NOON.astimezone(timezone(timedelta(hours=9))),
        updated_at=NOON + timedelta(hours=1),
    )
    assert sidecar(GENERATION, [ASSET, second]) == sidecar(shuffled, [second, ASSET])


def test_other_languages_stay_readable():
    assert "猫".encode() in sidecar(GENERATION, [])


@pytest.mark.parametrize("url", ["https://user:SECRET@host:8443/a.png?token=SECRET", "HTTPS://host/a.png#SECRET"])
def test_no_secret_of_a_link_is_written_down(url: str):
    written = sidecar(GENERATION, [replace(ASSET, url=url)])
    assert b"SECRET" not in written
    assert b"/a.png" in written


@pytest.mark.parametrize("url", ["", "https://[broken/a.png", "data:image/png;base64,SECRET"])
def test_what_is_no_web_link_is_no_source(url: str):
    assert json.loads(sidecar(GENERATION, [replace(ASSET, url=url)]))["assets"][0]["source"] is None


TEXT = st.text() | st.characters(categories=["Cs"])


@given(prompt=TEXT, url=TEXT, options=st.dictionaries(TEXT, TEXT | st.integers() | st.booleans() | st.none()))
@example(prompt="\ud800", url="http://\ud800", options={"\udfff": "\\ud800"})
def test_any_text_survives(prompt: str, url: str, options: dict[str, object]):
    written = json.loads(sidecar(replace(GENERATION, prompt=prompt, options=options), [replace(ASSET, url=url)]))
    assert written["prompt"] == prompt
    assert written["options"] == options
