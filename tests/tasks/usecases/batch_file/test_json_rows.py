"""JSON lines and arrays: flat or in the shape of OpenAI's batches, and however broken."""

import json

import pytest

from tests.tasks.usecases.batch_file.reading import read_all, read_entries
from worker.errors import RequestInvalid


def test_a_row_may_have_the_shape_of_openais_batches() -> None:
    line = {
        "custom_id": "sku-1",
        "method": "POST",
        "url": "/v1/images/generations",
        "body": {"model": "any", "prompt": "a fox", "n": 1, "aspect_ratio": "1:1"},
    }
    (entry,) = read_entries("p.jsonl", json.dumps(line))
    assert (entry.key, entry.prompt, entry.options) == ("sku-1", "a fox", {"aspect_ratio": "1:1"})
    assert entry.input == {"model": "any", "n": 1}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            {"prompt": "a", "size": "1024x1024"},
            "line 1, column size: 'size' in the body is not an option of any provider",
        ),
        ({"prompt": "a", "n": 4}, "line 1, column n: 'n' in the body is not an option"),
        ({"prompt": "a", "key": "b"}, "line 1, column key: 'key' is given both inside and outside the body"),
    ],
)
def test_what_has_no_effect_in_a_body_is_refused(body: dict[str, object], told: str) -> None:
    _, (fault,) = read_all("p.jsonl", json.dumps({"key": "x", "body": body}))
    assert fault.startswith(told)


@pytest.mark.parametrize("bad", ["\\ud800", "\\udc00x", "\\u0000"])
@pytest.mark.parametrize(
    ("line", "column"),
    [
        ('{"prompt": "a", "key": "kX"}', "key"),
        ('{"prompt": "aX"}', "prompt"),
        ('{"prompt": "a", "note": "nX"}', "note"),
        ('{"prompt": "a", "label.client": "X"}', "label.client"),
        ('{"prompt": "a", "tags": [1, {"t": "X"}]}', "tags"),
        ('{"prompt": "a", "tags": [{"tX": 1}]}', "tags"),
        ('{"prompt": "a", "provider": "X"}', "provider"),
    ],
)
def test_what_no_database_can_store_is_refused_before_anything_is_written(line: str, column: str, bad: str) -> None:
    entries, (fault,) = read_all("p.jsonl", line.replace("X", bad))
    assert not entries
    assert fault.startswith(f"line 1, column {column}: ")


def test_a_character_that_json_writes_as_two_is_stored() -> None:
    (entry,) = read_entries(
        "p.jsonl", '{"prompt": "a \\ud83e\\udd8a", "key": "\\ud83e\\udd8a", "tags": ["\\ud83e\\udd8a"]}'
    )
    assert (entry.key, entry.prompt, entry.input) == ("🦊", "a 🦊", {"tags": ["🦊"]})


def test_own_fields_keep_their_types() -> None:
    raw = '{"prompt": "a {price} {tags} fox", "id": 7, "price": 3.5, "tags": ["x"], "hd": true, "options": {"seed": 5}}'
    (entry,) = read_entries("p.jsonl", raw)
    assert entry.prompt == 'a 3.5 ["x"] fox'
    assert (entry.key, entry.input) == ("7", {"price": 3.5, "tags": ["x"]})
    assert entry.options == {"hd": True, "seed": 5}


def test_an_array_is_read_in_pieces_and_its_lines_are_counted() -> None:
    objects = [{"prompt": f"fox {number} " + "x" * 3000, "key": f"{number}"} for number in range(200)]
    entries = read_entries("p.json", json.dumps(objects, indent=1))
    assert [entry.key for entry in entries] == [one["key"] for one in objects]
    assert [entry.place.line for entry in entries] == [2 + 4 * number for number in range(200)]
    assert len(read_entries("p.json", json.dumps([{"prompt": "x" * 300_000}, "a fox"]))) == 2


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        ('[{"prompt": "a"},\n {"prompt": ]', "line 2, column 14: invalid JSON: Expecting value"),
        ('[{"prompt": "a"} {"prompt": "b"}]', "line 1, column 18: invalid JSON: expected a comma or the end"),
        ('[{"prompt": "a"}', "line 1, column 17: invalid JSON: expected a comma or the end"),
        ('[{"prompt": "a"}]\n[', "line 2, column 1: invalid JSON: expected nothing after the array"),
        ('[{"prompt": "a", "prompt": "b"}]', "line 1, column prompt: duplicate field 'prompt'"),
        ('[{"prompt": "a"}, 7]', "line 1, column 19: expected an object"),
        ('[{"prompt": NaN}]', "line 1, column 2: invalid JSON: NaN is not a JSON number: write null, or leave"),
        ("[" * 10_000_000, "line 1, column 2: this JSON has a number that is too long or brackets nested too deeply"),
    ],
)
def test_a_broken_array_ends_with_one_fault(raw: str, told: str) -> None:
    _, faults = read_all("p.json", raw)
    assert [sentence.startswith(told) for sentence in faults] == [True], faults


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_a_line_with_a_number_that_json_does_not_have_is_told_so(word: str) -> None:
    _, faults = read_all("p.jsonl", f'{{"prompt": "a", "weight": {word}}}')
    told = f"invalid JSON: {word} is not a JSON number: write null, or leave the field out"
    assert faults == [f"line 1, column 1: {told}"]


def test_a_single_object_is_told_what_to_become() -> None:
    with pytest.raises(RequestInvalid, match="this is a single object: put it in an array"):
        read_all("p.json", '{\n "prompt": "a"\n}')
