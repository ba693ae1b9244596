"""Templates: what is filled in, what expands, and what is refused with a hint."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.usecases.batch_file import EXPAND_LIMIT, expand_entry
from tasks.usecases.batch_file.template import MANY, read_template
from tasks.usecases.entry import Entry, Place
from worker.errors import RequestInvalid


def prompts(text: str, **cells: str) -> list[str]:
    template = read_template(text, cells)
    found = [prompt for prompt, _ in template.prompts(cells)]
    assert len(found) == template.count
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{red, blue} fox", ["red fox", "blue fox"]),
        ("{red,blue} {fox, owl}", ["red fox", "red owl", "blue fox", "blue owl"]),
        ("a fox --ar {1:1, 16:9}", ["a fox --ar 1:1", "a fox --ar 16:9"]),
        ("a {red {fox, owl}, cat}", ["a red fox", "a red owl", "a cat"]),
        (r"{red\, big, blue} fox", ["red, big fox", "blue fox"]),
        ("{, red} fox", ["fox", "red fox"]),
        ("{--hd, --tile} fox", ["--hd fox", "--tile fox"]),
        (r"a \{fox\} \__x\__, it\, too", [r"a {fox} __x__, it\, too"]),
        (r"{a\|b, c}", ["a|b", "c"]),
        ("{name} in {color, white}", ["hat in color", "hat in white"]),
        ("{ name }, a hat", ["hat, a hat"]),
        ("a fox, an owl | a cat", ["a fox, an owl | a cat"]),
    ],
)
def test_a_template_makes_a_prompt_of_each_alternative(text: str, expected: list[str]) -> None:
    assert prompts(text, name="hat", color="red") == expected


@pytest.mark.parametrize(
    ("text", "at", "told"),
    [
        ("a {size} hat", 2, "the columns are name, color"),
        ("a {} hat", 2, "is not a column"),
        ("a {red|blue} hat", 6, "separate alternatives by commas, {a, b}"),
        ("a {red|blue, white} hat", 6, "separate alternatives by commas"),
        ("{0.5::red|blue}", 9, "separate alternatives by commas"),
        ("a {2$$red|blue} hat", 2, "write {red, blue}"),
        ("a __colour__ hat", 2, "is a wildcard from other programs"),
        ("a {red, hat", 2, "never closed"),
        ("a red} hat", 5, "has no opening brace"),
        ("{" * 20 + "a, b" + "}" * 20, 10, "nested more than 10 deep"),
        ("{" * 1_000_000, 10, "nested more than 10 deep"),
    ],
)
def test_what_it_cannot_mean_is_refused_at_its_place(text: str, at: int, told: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        read_template(text, ("name", "color"))
    assert (caught.value.at, told in str(caught.value)) == (at, True)


def test_a_count_beyond_all_measure_is_not_computed() -> None:
    assert read_template("{a, b}" * 10_000, ()).count == MANY


_alternatives = st.lists(st.text("ab \u72d0{}|,_\\", max_size=5), min_size=2, max_size=4)


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "{}|,_" else sign for sign in text)


# A backslash before a sign is read as its escape, so none ends a text here.
@given(st.lists(_alternatives.map(lambda all_: [one.replace("\\", "") for one in all_]), max_size=4))
def test_there_are_as_many_prompts_as_the_product_and_escaped_text_is_literal(choices: list[list[str]]) -> None:
    text = " ".join("{" + ",".join(map(_escaped, one)) + "}" for one in choices)
    found = prompts(text)
    assert len(found) == prod(map(len, choices))
    assert found[-1] == " ".join(one[-1].strip() for one in choices).strip()


@given(st.text())
def test_what_a_column_holds_is_put_in_literally(cell: str) -> None:
    assert prompts("<{name}> {a, b}", name=cell) == [f"<{cell}> a", f"<{cell}> b"]


@given(st.text("ab{},|\\_$2", max_size=30))
def test_any_template_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        template = read_template(text, ("a", "b"))
    except RequestInvalid as error:
        assert error.at in range(len(text) + 1)  # noqa: PT017
    else:
        assert template.count >= 1


def test_a_prompt_without_a_file_expands_alike() -> None:
    entry = Entry(place=Place(""), prompt="{red, blue} fox", key="fox")
    assert [(one.prompt, one.key, one.input) for one in expand_entry(entry, EXPAND_LIMIT)] == [
        ("red fox", "fox/1", {"_choice": "red"}),
        ("blue fox", "fox/2", {"_choice": "blue"}),
    ]
    with pytest.raises(RequestInvalid, match="makes 4 generations, above the limit of 3"):
        expand_entry(Entry(place=Place(""), prompt="{a, b} {a, b}"), 3)
    with pytest.raises(RequestInvalid, match=r"prompt 2, column 3: \{size\} is not a column"):
        expand_entry(Entry(place=Place("prompt 2"), prompt="a {size} hat"), 3)
