"""Files of prompts: what they say, and where exactly they are wrong."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.usecases.batch_file.excel import damage_in_key
from tasks.usecases.entry import Entry, Place
from tests.tasks.usecases.batch_file.reading import read_entries
from worker.errors import RequestInvalid


def sentence(name: str, raw: bytes) -> str:
    with pytest.raises(RequestInvalid) as caught:
        read_entries(name, raw)
    return str(caught.value)


def test_a_text_file_has_one_prompt_per_line_and_empty_lines_do_not_count() -> None:
    entries = read_entries("p.txt", b"a fox\r\n\n   \n  an owl  \n")
    assert [(entry.prompt, str(entry.place)) for entry in entries] == [
        ("a fox", "p.txt, line 1, column 1"),
        ("an owl", "p.txt, line 4, column 3"),
    ]


def test_the_mark_that_some_editors_write_first_is_not_part_of_a_prompt() -> None:
    assert read_entries("p.txt", b"\xef\xbb\xbfa fox")[0].prompt == "a fox"


def test_an_object_may_say_everything() -> None:
    line = {
        "prompt": " a fox ",
        "key": "fox",
        "options": {"hd": True},
        "follow_up": ["upscale1", "upscale2"],
        "priority": 5,
    }
    assert read_entries("p.jsonl", json.dumps(line).encode()) == [
        Entry(
            place=Place("p.jsonl", 1, 1),
            prompt="a fox",
            key="fox",
            options={"hd": True},
            follow_up="upscale1,upscale2",
            priority=5,
            row_number=1,
            row_sha256=read_entries("other.jsonl", json.dumps(line, indent=None, separators=(",", ":")))[0].row_sha256,
        )
    ]


def test_objects_are_recognised_without_a_file_name() -> None:
    assert read_entries("standard input", b'\n { "prompt": "a fox"}')[0].prompt == "a fox"


def test_a_prompt_may_begin_with_a_brace() -> None:
    assert [one.prompt for one in read_entries("p.txt", b"{red, blue} fox")] == ["red fox", "blue fox"]


def test_a_separator_inside_json_text_does_not_end_the_line() -> None:
    assert read_entries("p.jsonl", '{"prompt": "a\u2028fox"}'.encode())[0].prompt == "a\u2028fox"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "p.jsonl is empty"),
        (b" \n\n", "p.jsonl is empty"),
        (b'{"prompt": "a"}\n{"prompt" "b"}', "p.jsonl, line 2, column 11: invalid JSON: Expecting ':' delimiter"),
        (b'{"prompt": "a"}\n\n["b"]', "p.jsonl, line 3, column 1: expected an object"),
        (b'{"prompt": "a", "prompt": "b"}', "p.jsonl, line 1, column prompt: duplicate field 'prompt': keep one"),
        (
            b'{"prompt": "a", "options": {"hd": true, "hd": false}}',
            "p.jsonl, line 1, column hd: duplicate field 'hd': keep one",
        ),
        (b'{"prompt": 7}', "p.jsonl, line 1, column prompt: expected text"),
        (b'{"prompt": "a", "key": " "}', "p.jsonl, line 1, column key: a key must be non-empty text"),
        (b'{"prompt": "a", "id": true}', "p.jsonl, line 1, column id: a key must be non-empty text"),
        (b'{"prompt": "a", "options": []}', "p.jsonl, line 1, column options: expected an object"),
        (b'{"prompt": "a", "follow_up": [1]}', "p.jsonl, line 1, column follow_up: expected text"),
        (b'{"prompt": "a", "operation": "upscale"}', "p.jsonl, line 1, column operation: expected one of imagine"),
        (b'{"prompt": "a", "priority": true}', "p.jsonl, line 1, column priority: expected a whole number"),
        (b'{"prompt": "a", "priority": 3000000000}', "p.jsonl, line 1, column priority: expected a whole number"),
        (b'{"prompt": "a", "key": "b", "sku": "c"}', "p.jsonl, line 1, column sku: key and sku mean the same"),
        (b'{"prompt": "a"} {"prompt": "b"}', "p.jsonl, line 1, column 16: expected the end of the line"),
        (b'{"prompt": "a"}\n{"prompt": "\xff"}', "p.jsonl, line 2, column 13: the byte 0xff is not UTF-8"),
        (b'{"prompt": ' + b"[" * 100_000, "p.jsonl, line 1, column 1: this JSON has"),
        (b'{"prompt": "a", "priority": ' + b"9" * 5000 + b"}", "p.jsonl, line 1, column 1: this JSON has"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_column(raw: bytes, expected: str) -> None:
    assert sentence("p.jsonl", raw).startswith(expected)


def test_a_column_counts_characters_and_not_bytes() -> None:
    assert sentence("p.txt", "é\nfüü".encode() + b"\xff").startswith("p.txt, line 2, column 4: the byte 0xff")


@given(st.binary(max_size=200), st.sampled_from(["p.txt", "p.jsonl"]))
def test_any_bytes_give_prompts_or_one_clear_error(raw: bytes, name: str) -> None:
    try:
        entries = read_entries(name, raw)
    except RequestInvalid as error:
        said = str(error)
    else:
        said = str(entries[0].place)
    assert said.startswith(name)


#: without the signs of templates
_text = st.text(st.characters(blacklist_characters="{}_", blacklist_categories=("Cc", "Cs")))
_stored = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)))
_objects = st.fixed_dictionaries(
    {"prompt": _text},
    optional={
        "key": _text.filter(lambda key: key.strip() and not damage_in_key(key.strip())),
        "options": st.dictionaries(_stored, st.integers() | _stored | st.booleans()),
        "follow_up": _stored | st.lists(_stored),
        "priority": st.integers(-(2**31), 2**31 - 1),
    },
)


@given(st.lists(_objects, min_size=1, unique_by=lambda one: str(one.get("key") or id(one)).strip()))
def test_what_was_written_as_json_lines_is_what_is_read(objects: list[dict[str, object]]) -> None:
    raw = "\n".join(json.dumps(item) for item in objects)
    entries = read_entries("p.jsonl", raw)
    assert [entry.prompt for entry in entries] == [str(item["prompt"]).strip() for item in objects]
    assert [entry.key for entry in entries] == [item.get("key") and str(item["key"]).strip() for item in objects]
    assert [entry.options for entry in entries] == [item.get("options", {}) for item in objects]
    assert [entry.priority for entry in entries] == [item.get("priority") for item in objects]
    array = read_entries("p.json", json.dumps(objects, indent=1))
    assert [replace(entry, place=Place("")) for entry in array] == [replace(one, place=Place("")) for one in entries]
