"""What is no file of prompts is refused at its place, and nothing that is one."""

import gzip
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.usecases.batch_file import open_batch_file, spool
from tests.tasks.usecases.batch_file.reading import read_entries
from worker.errors import RequestInvalid


def refusal(raw: str | bytes, name: str = "p.txt") -> str:
    with pytest.raises(RequestInvalid) as caught:
        read_entries(name, raw.encode() if isinstance(raw, str) else raw)
    return str(caught.value).removeprefix(f"{name}, ")


def a_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as book:
        book.writestr("word/document.xml", "<document/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "place", "what"),
    [
        # JSON
        ('{\n "prompt": "a"\n}', "line 1, column 1", ""),
        ('{"prompt": "a",\n "key": "b"}', "line 1, column 1", ""),
        ('a fox\n  {"prompt": "b"}', "line 2, column 3", "this line is a JSON object"),
        ("{'prompt': 'a'}\n{'prompt': 'b'}", "line 1, column 1", "but not JSON"),
        ('"a",\n"b"', "line 1, column 1", "a quoted list"),
        ('prompts = [\n "a"\n]', "line 1, column 1", "a list from a program"),
        # tables without a header
        ("a fox;16:9;sku-1\nan owl;1:1;sku-2", "line 1, column 6", "every line has the same columns"),
        ("a fox;16:9;sku-1", "line 1, column 6", "every line has the same columns"),
        ('0001,"a cat, b",kie\n0002,"b",kie', "line 1, column 5", "every line has the same columns"),
        ("a fox\t16:9\nan owl\t1:1", "line 1, column 6", "a tab"),
        ("| prompt | ar |\n|---|---|", "line 1, column 1", "a table"),
        ("prompt|key\na fox|1", "line 1, column 7", "a table header"),
        # other texts
        ("- prompt: a fox\n  key: s1", "line 1, column 1", "YAML"),
        ("prompts:\n  - a fox", "line 1, column 1", "YAML"),
        ('prompt = "a fox"\nkey = "s1"', "line 1, column 1", "YAML"),
        ('<?xml version="1.0"?>\n<a/>', "line 1, column 1", "HTML or XML"),
        ("<html>\n<p>a</p>", "line 1, column 1", "HTML or XML"),
        ("{\\rtf1 a fox}", "line 1, column 1", "a rich text document"),
        ("a fox\n```", "line 2, column 1", "'```' is not a prompt"),
        ("a fox\nan\x1b[1m owl", "line 2, column 3", "a control character (U+001B)"),
        # no text
        ("a fox\nan owl".encode("utf-16"), "line 1, column 1", "UTF-16"),
        ("a fox\nan owl".encode("utf-16-le"), "line 1, column 2", "UTF-16"),
        ("a fox\nan owl".encode("utf-16-be"), "line 1, column 1", "UTF-16"),
        ("a fox".encode("utf-32"), "line 1, column 1", "UTF-32"),
        pytest.param(a_zip(), "line 1, column 1", "a ZIP file", id="zip"),
        (gzip.compress(b"a fox", mtime=0), "line 1, column 1", "a gzip file: unpack it first"),
        (b"%PDF-1.7\n", "line 1, column 1", "a PDF"),
        (b"\x89PNG\r\n\x1a\n", "line 1, column 1", "a PNG image"),
        (b"SQLite format 3\x00", "line 1, column 1", "an SQLite database"),
        (b"a fox\nan\x00owl", "line 2, column 3", "a NUL byte"),
        (b"\x00" * 100, "line 1, column 1", "a NUL byte"),
    ],
)
def test_another_format_is_refused_where_it_shows(raw: str | bytes, place: str, what: str) -> None:
    for name in ("p.txt", "standard input"):
        said = refusal(raw, name)
        assert said.startswith(f"{place}: ")
        assert what in said


@pytest.mark.parametrize("suffix", ["xlsx", "yaml", "json", "html", "docx", "PDF", "xls", "ods"])
def test_a_name_that_says_another_format_is_refused(suffix: str) -> None:
    assert refusal("a fox\n", f"p.{suffix}").startswith("line 1, column 1: ")


CONTENTS = {
    "csv": "prompt;key\na fox;1\n",
    "jsonl": '{"prompt": "a fox", "key": "1"}\n',
    "json": '[{"prompt": "a fox", "key": "1"}]',
    "txt": "a fox\n",
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", CONTENTS)
def test_the_name_and_the_content_agree_or_the_file_is_refused_with_the_name_to_give_it(
    name: str, content: str
) -> None:
    raw = CONTENTS[content]
    assert read_entries("standard input", raw)[0].prompt == "a fox"
    if name == content:
        assert read_entries(f"p.{name}", raw)[0].prompt == "a fox"
    elif content != "txt":
        assert f"rename it to .{content}" in refusal(raw, f"p.{name}")
    elif name == "csv":
        assert refusal(raw, "p.csv") == "p.csv contains no rows"
    else:
        assert refusal(raw, f"p.{name}").startswith("line 1, column 1: ")


def test_what_does_not_end_is_refused_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "LARGEST", 3 << 20)
    assert refusal(b"a fox\n" * (1 << 20)).startswith(
        "line 524289, column 1: the file is larger than the limit of 3 MB"
    )


class Endless(io.RawIOBase):
    """As `yes a fox | darkroom submit -` reads it."""

    name = "endless"
    taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        buffer[:] = (b"a fox\n" * (len(buffer) // 6 + 1))[: len(buffer)]
        self.taken += len(buffer)
        return len(buffer)


def test_of_a_pipe_without_end_no_more_is_read_than_may_be() -> None:
    pipe = Endless()
    with pytest.raises(RequestInvalid, match="the file is larger than the limit of 256 MB"):
        open_batch_file("a pipe", io.BufferedReader(pipe))  # type: ignore[arg-type]
    assert pipe.taken < spool.LARGEST + (1 << 20)


PROMPTS = [
    "a red fox, 8k",
    "red, blue, green",
    "portrait,8k,sharp",
    "key, lock, door",
    "color, size, a price tag",
    "a car, fast",
    "[a red fox] in the snow",
    '["Hello" sign] on a wall',
    "a sad smiley :(",
    "an angry smiley :[",
    "cat::2 dog::1",
    "a fox; an owl; a cat",
    '"Hello", said the fox',
    "name: the fox",
    "a lighthouse\t--ar 16:9",
    "<lora:foo:1> a fox",
    "16:9 is its ratio, o'clock: noon",
    "a fox | an owl",
    "a fox - WEBP",
    "GIF8 bits",
    "\N{FOX FACE}",
    "prompt payment, an office",
    "prompt: a fox",
]


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_prompt_is_no_false_alarm_alone_or_among_its_like(prompt: str) -> None:
    like = prompt.replace("fox", "owl")
    assert [entry.prompt for entry in read_entries("p.txt", prompt.encode())] == [prompt]
    assert [entry.prompt for entry in read_entries("standard input", f"{prompt}\n{like}\n".encode())] == [prompt, like]


def test_prompts_of_all_kinds_are_one_file() -> None:
    assert [entry.prompt for entry in read_entries("p.txt", "\n".join(PROMPTS).encode())] == PROMPTS


def test_the_lines_of_an_old_mac_are_lines() -> None:
    assert [str(entry.place) for entry in read_entries("p.txt", b"a fox\ran owl\r")] == [
        "p.txt, line 1, column 1",
        "p.txt, line 2, column 1",
    ]


#: words as prompts have them, and nothing that is the sign of another format
_words = st.text(st.sampled_from("aé狐 ,;:()[]'\"-.|=0189"), min_size=1, max_size=30).map(lambda text: f"a fox {text}")


@settings(max_examples=50)
@given(st.lists(_words, min_size=1, max_size=5))
def test_sentences_are_read_as_they_are_or_refused_for_a_table(prompts: list[str]) -> None:
    """Whatever stands in them: what is read is each line, and where not, a table is what it seems."""
    raw = "\n".join(prompts)
    try:
        entries = read_entries("p.txt", raw.encode())
    except RequestInvalid as error:
        assert "table" in str(error)  # noqa: PT017
    else:
        assert [entry.prompt for entry in entries] == [prompt.strip() for prompt in prompts]
