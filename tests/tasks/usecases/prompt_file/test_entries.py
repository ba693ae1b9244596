"""Files of prompts: what they say, and where exactly they are wrong."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.usecases.entry import Entry, Place
from tasks.usecases.prompt_file import read_entries
from worker.errors import RequestInvalid


def sentence(name: str, raw: bytes) -> str:
    with pytest.raises(RequestInvalid) as caught:
        read_entries(name, raw)
    return str(caught.value)


def test_a_text_file_has_one_prompt_per_line_and_empty_lines_do_not_count() -> None:
    entries = read_entries("p.txt", b"a fox\r\n\n   \n  an owl  \n")
    assert [(entry.prompt, str(entry.place)) for entry in entries] == [
        ("a fox", "p.txt, line 1, column 1"),
        ("an owl", "p.txt, line 4, column 1"),
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
        )
    ]


def test_objects_are_recognised_without_a_file_name() -> None:
    assert read_entries("standard input", b'\n { "prompt": "a fox"}')[0].prompt == "a fox"


def test_a_prompt_may_begin_with_a_brace() -> None:
    assert read_entries("p.txt", b"{red, blue} fox")[0].prompt == "{red, blue} fox"


def test_a_separator_inside_json_text_does_not_end_the_line() -> None:
    assert read_entries("p.jsonl", '{"prompt": "a\u2028fox"}'.encode())[0].prompt == "a\u2028fox"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "p.jsonl contains no prompts"),
        (b" \n\n", "p.jsonl contains no prompts"),
        (b'{"prompt": "a"}\n{"prompt" "b"}', "p.jsonl, line 2, column 11: invalid JSON: Expecting ':' delimiter"),
        (b'{"prompt": "a"}\n\n["b"]', "p.jsonl, line 3, column 1: expected an object"),
        (b'  {"promt": "a"}', "p.jsonl, line 1, column 4: unknown field 'promt'"),
        (b'{"prompt": "a", "prio": 1}', "p.jsonl, line 1, column 17: unknown field 'prio'"),
        (b'{"prompt": "a", "prompt": "b"}', "p.jsonl, line 1, column 17: duplicate field 'prompt': keep one"),
        (
            b'{"prompt": "a", "options": {"hd": true, "hd": false}}',
            "p.jsonl, line 1, column 41: duplicate field 'hd': keep one",
        ),
        (b'{"prompt": 7}', 'p.jsonl, line 1, column 2: "prompt" must be text'),
        (b'{"prompt": "a", "key": ""}', 'p.jsonl, line 1, column 17: "key" must be a non-empty string'),
        (b'{"prompt": "a", "options": []}', 'p.jsonl, line 1, column 17: "options" must be an object'),
        (b'{"prompt": "a", "follow_up": [1]}', 'p.jsonl, line 1, column 17: "follow_up" must be text'),
        (b'{"prompt": "a", "priority": true}', 'p.jsonl, line 1, column 17: "priority" must be a whole number'),
        (b'{"prompt": "a", "priority": 3000000000}', 'p.jsonl, line 1, column 17: "priority" must be a whole number'),
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


_objects = st.fixed_dictionaries(
    {"prompt": st.text()},
    optional={
        "key": st.text().filter(str.strip),
        "options": st.dictionaries(st.text(), st.integers() | st.text() | st.booleans()),
        "follow_up": st.text() | st.lists(st.text()),
        "priority": st.integers(-(2**31), 2**31 - 1),
    },
)


@given(st.lists(_objects, min_size=1))
def test_what_was_written_as_json_lines_is_what_is_read(objects: list[dict[str, object]]) -> None:
    raw = "\n".join(json.dumps(item) for item in objects).encode()
    entries = read_entries("p.jsonl", raw)
    assert [entry.prompt for entry in entries] == [str(item["prompt"]).strip() for item in objects]
    assert [entry.key for entry in entries] == [item.get("key") for item in objects]
    assert [entry.options for entry in entries] == [item.get("options", {}) for item in objects]
    assert [entry.priority for entry in entries] == [item.get("priority") for item in objects]
