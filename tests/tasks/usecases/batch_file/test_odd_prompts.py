"""What looks odd in a prompt is said with its place, and taken all the same."""

# ruff: noqa: RUF001  the dashes are what is tested

import pytest

from tasks.usecases.batch_file import oddities_of
from tests.tasks.usecases.batch_file.reading import read_entries


def odd(prompt: str) -> tuple[str, ...]:
    (entry,) = read_entries("p.txt", prompt.encode())
    return oddities_of([entry])[0]


@pytest.mark.parametrize(
    ("prompt", "column", "what"),
    [
        ("/imagine prompt: a fox", 1, "'/imagine prompt:' is a Discord command"),
        ("/imagine a fox", 1, "'/imagine' is a Discord command"),
        ("prompt: a fox", 1, "'prompt:' is a Discord command"),
        ("a fox –ar 3:2", 7, "'–ar' begins with a long dash"),
        ("a fox —ar 3:2", 7, "'—ar' begins with a long dash"),
        ("a fox −v 7", 7, "'−v' begins with a long dash"),
        ("a fox -ar 3:2", 7, "'-ar' begins with a single dash"),
        ("a fox -- ar 3:2", 7, "'-- ar' has a space after the dashes"),
        ("a fox --ar=3:2", 7, "'--ar=3:2' has no space before its value"),
        ("a fox --v7", 7, "'--v7' has no space before its value"),
        ("a fox\u00a0--ar 3:2", 6, "'--ar' is next to a no-break space"),
        ("a fox --ar\u00a03:2", 7, "'--ar' is next to a no-break space"),
        ("a fox --ar\u200b 3:2", 7, "'--ar\\u200b' is next to a no-break space"),
        ("a fox --foo", 7, "--foo is not a Midjourney parameter"),
        ("a fox --ar 3:2 --aspect 1:1", 16, "--aspect 1:1 conflicts with --ar 3:2: keep one"),
        ("1. a fox", 1, "'1.' looks like a list marker"),
        ('"a fox"', 1, "the surrounding quotes"),
        ("**a fox --v 7** - @me (fast)", 1, "a message from the Discord bot"),
        ("a \u202efox", 3, "an invisible character that changes"),
        ("a f\ufffdx", 4, "a damaged character"),
    ],
)
def test_an_odd_prompt_is_told_with_its_place(prompt: str, column: int, what: str) -> None:
    (said, *_) = odd(prompt)
    assert said.startswith(f"p.txt, line 1, column {column}: ")
    assert what in said


@pytest.mark.parametrize(
    "prompt",
    ["a fox --ar 16:9 --v 7 --no text,,fog --tile --sref 123", "black-and-white - a fox", "a fox – quick – and an owl",
     "a fox\t--ar 3:2", "the -v of a shape"],
)  # fmt: skip
def test_an_ordinary_prompt_is_not_odd(prompt: str) -> None:
    assert odd(prompt) == ()


def test_the_place_in_a_table_is_its_column() -> None:
    (entry,) = read_entries("p.csv", "key,Prompt\n1,a fox --ar=3:2\n")
    (said,) = oddities_of([entry])[0]
    assert said.startswith("p.csv, line 2, column Prompt: ")
