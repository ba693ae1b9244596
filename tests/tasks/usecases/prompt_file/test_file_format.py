"""What is no file of prompts is refused at its place, and nothing that is one."""

import gzip
import io
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.usecases.prompt_file import file_format, read_entries, read_file
from tests.examples import examples
from worker.errors import RequestInvalid


def refusal(raw: str | bytes, name: str = "p.txt") -> str:
    with pytest.raises(RequestInvalid) as caught:
        read_entries(name, raw.encode() if isinstance(raw, str) else raw)
    return str(caught.value).removeprefix(f"{name}, ")


def xlsx() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as book:
        book.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("raw", "place", "what"),
    [
        # JSON
        ('[\n {"prompt": "a"},\n {"prompt": "b"}\n]\n', "line 1, column 1", "a JSON array"),
        ('\n  [{"prompt": "a"}, {"prompt": "b"}]', "line 2, column 3", "a JSON array"),
        ('["a",\n"b"]', "line 1, column 1", "a JSON array"),
        ('["a", "b",]', "line 1, column 1", "a JSON array"),
        ("['a', 'b']", "line 1, column 1", "a JSON array"),
        ('[{prompt: "a"}]', "line 1, column 1", "a JSON array"),
        ('{\n "prompt": "a"\n}', "line 1, column 1", "multi-line JSON"),
        ('{"prompt": "a",\n "key": "b"}', "line 1, column 1", "this object continues on the next line"),
        ('a fox\n  {"prompt": "b"}', "line 2, column 3", "this line is a JSON object"),
        ("{'prompt': 'a'}\n{'prompt': 'b'}", "line 1, column 1", "but not JSON"),
        ('"a",\n"b"', "line 1, column 1", "a quoted list"),
        ('prompts = [\n "a"\n]', "line 1, column 1", "a list from a program"),
        # tables
        ('\ufeffprompt;aspect_ratio;key\r\n"a, ""b""\r\nc";16:9;s1\r\n', "line 1, column 7", "a table header"),
        ("sku,prompt,provider\n1,a fox,kie", "line 1, column 4", "a table header"),
        ("Prompt (EN);Ratio\na fox;1:1", "line 1, column 12", "a table header"),
        ("key;version;speed\na;b;c", "line 1, column 4", "a table header"),
        ("title,description\nRed hat,a red hat on a chair", "line 1, column 6", "a table header"),
        ("prompt\na fox", "line 1, column 1", "a column heading"),
        ("提示词,编号\n狐狸,1", "line 1, column 4", "a table header"),
        ("sep=;\na;b", "line 1, column 1", "a table"),
        ("a fox;16:9;sku-1\nan owl;1:1;sku-2", "line 1, column 6", "every line has the same columns"),
        ("a fox;16:9;sku-1", "line 1, column 6", "every line has the same columns"),
        ('0001,"a cat, b",kie\n0002,"b",kie', "line 1, column 5", "every line has the same columns"),
        ("a fox\t16:9\nan owl\t1:1", "line 1, column 6", "a tab"),
        ("| prompt | ar |\n|---|---|", "line 1, column 1", "a table"),
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
        pytest.param(xlsx(), "line 1, column 1", "a ZIP file, such as Excel", id="xlsx"),
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


@pytest.mark.parametrize("suffix", ["csv", "tsv", "xlsx", "yaml", "json", "html", "docx", "PDF"])
def test_a_name_that_says_another_format_is_refused(suffix: str) -> None:
    assert refusal("a fox\n", f"p.{suffix}").startswith("line 1, column 1: ")


def test_an_array_under_the_name_of_json_lines_is_told_as_one() -> None:
    assert "a JSON array" in refusal('[{"prompt": "a"}]', "p.jsonl")


def test_what_does_not_end_is_refused_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_format, "LARGEST", 3 << 20)
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
    with pytest.raises(RequestInvalid, match="the file is larger than the limit of 64 MB"):
        read_file("a pipe", io.BufferedReader(pipe))  # type: ignore[arg-type]
    assert pipe.taken < file_format.LARGEST + (1 << 20)


PROMPTS = [
    "a red fox, 8k",
    "red, blue, green",
    "portrait,8k,sharp",
    "key, lock, door",
    "color, size, a price tag",
    "a car, fast",
    "{red, blue} fox",
    '{"open" sign, "closed" sign} on a door',
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
_words = st.text(st.sampled_from("aé狐 ,;:{}()[]'\"-.|=0189"), min_size=1, max_size=30).map(
    lambda text: f"a fox {text}"
)


@settings(max_examples=examples(50))
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
