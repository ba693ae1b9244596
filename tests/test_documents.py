"""What the documents name is there: files, anchors, commands, options, make targets, settings, states and steps."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from tasks.cli import COMMANDS, cli
from tests.test_env_example import example
from worker.generation import TRANSITIONS, State
from worker.providers import PROVIDERS
from worker.steps import Step

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
#: what a user reads today; decisions and the changelog tell of the past
CURRENT = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "deploy").glob("*.md"))]
FOLDERS = {"worker", "tasks", "webhook", "tests", "deploy", ".ci"}
#: also name what is in other programs, and constants of the code
OF_MORE_THAN_OURS = {"SANDBOX.md", "CONTRIBUTING.md"}
#: in the place of a name that is to be chosen
PLACEHOLDERS = {"acme", "NAME"}

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")
_SETTING = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_ARROW = re.compile(r"(\w+) ─+([^─▶]+)─+▶ (?=(\w+))")
_CORNER = re.compile(r"└─+([^─▶]+)─+▶ (\w+)")

by_name = pytest.mark.parametrize("document", CURRENT, ids=lambda document: document.name)
ours_alone = pytest.mark.parametrize(
    "document",
    [document for document in CURRENT if document.name not in OF_MORE_THAN_OURS],
    ids=lambda document: document.name,
)


@cache
def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


@cache
def code_in(document: Path) -> tuple[str, ...]:
    """Code spans, and lines of code blocks."""
    text = text_of(document)
    blocks = (line.strip() for block in _FENCED.findall(text) for line in block.splitlines()[1:-1])
    indented = (line.strip() for line in text.splitlines() if line.startswith("    "))
    return (*_CODE.findall(_FENCED.sub("", text)), *blocks, *indented)


@cache
def anchors(document: Path) -> frozenset[str]:
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text_of(document)), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_link_leads_somewhere(document: Path):
    for target in ("".join(found) for found in _LINK.findall(text_of(document))):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        there = (document.parent / file).resolve() if file else document
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@by_name
def test_files_that_are_named_exist(document: Path):
    for path in code_in(document):
        parts = re.findall(r"[a-zA-Z]+", path)
        if re.fullmatch(r"[\w.-]+/[\w./-]*", path) and path.split("/")[0] in FOLDERS and not PLACEHOLDERS & {*parts}:
            assert (ROOT / path).exists(), path


def command(words: list[str]) -> click.Command | None:
    """The command that these words begin with, taken off them; None if there is none of that name."""
    context = click.Context(cli)
    found: click.Command | None = cli
    while words and isinstance(found, click.Group) and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        found = found.get_command(context, words.pop(0))
    return found


def options(one: click.Command) -> set[str]:
    return {name for parameter in one.params for name in parameter.opts} | {"--help", "-h"}


def own_command_lines(document: Path) -> Iterator[str]:
    for code in code_in(document):
        if line := re.search(r"(?:^|\s|bin/)darkroom ([a-z][^#]*)", code):
            yield line[1]


@by_name
def test_commands_and_their_options_exist(document: Path):
    for line in own_command_lines(document):
        words = line.split()
        found = command(words)
        assert found is not None, line
        assert set(_OPTION.findall(line)) <= options(found), line


@cache
def every_option() -> frozenset[str]:
    found: set[str] = set()
    for name in COMMANDS:
        one = command([name])
        assert one is not None
        found |= options(one)
        if isinstance(one, click.Group):
            context = click.Context(one)
            subs = (one.get_command(context, sub) for sub in one.list_commands(context))
            found |= {option for sub in subs if sub is not None for option in options(sub)}
    for tool in ("bench", "chaos"):
        found |= set(re.findall(r"\"(--[a-z-]+)\"", text_of(ROOT / "tests" / tool / "__main__.py")))
    return frozenset(found)


@ours_alone
def test_options_that_are_named_alone_or_for_make_belong_to_some_command(document: Path):
    for code in code_in(document):
        if code.startswith(("--", "make ")):
            assert set(_OPTION.findall(code)) <= every_option(), code


@by_name
def test_make_targets_exist(document: Path):
    targets = set(re.findall(r"^([a-z-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for code in code_in(document):
        if called := re.match(r"make ([a-z-]+)", code):
            assert called[1] in targets, code


@ours_alone
def test_settings_that_are_named_exist(document: Path):
    variables = re.findall(r"^([A-Z_]+) \?=", text_of(ROOT / "Makefile"), re.MULTILINE)
    for code in code_in(document):
        for name in _SETTING.findall(code):
            assert name.removesuffix("_FILE") in {*example(), *variables}, code


def test_the_list_of_commands_has_them_all():
    table = text_of(ROOT / "deploy" / "OPERATIONS.md").partition("## Commands")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    listed = {name.split()[0] for row in rows for name in _CODE.findall(row)}
    assert listed == COMMANDS.keys()


def test_the_list_of_providers_has_them_all():
    listed = re.findall(r"^\| [^|]*\(`(\w+)`", text_of(ROOT / "deploy" / "PROVIDERS.md"), re.MULTILINE)
    assert set(listed) == set(PROVIDERS)


def test_the_readme_takes_two_minutes():
    assert len(text_of(README).splitlines()) <= 150


def drawn() -> Iterator[tuple[str, str, str]]:
    """The arrows of the README's flow: from, over which steps, to."""
    (flow,) = (block for block in _FENCED.findall(text_of(README)) if "▶" in block)
    lines = flow.splitlines()
    for row, line in enumerate(lines):
        yield from ((source, steps, to) for source, steps, to in _ARROW.findall(line) if source in set(State))
        for corner in _CORNER.finditer(line):
            yield above(lines, row, corner.start()), corner[1], corner[2]
        for head in re.finditer("▲", line):
            yield below(lines, row, head.start()), "", above(lines, row, head.start())


def above(lines: list[str], row: int, column: int) -> str:
    return meets(lines[:row][::-1], column)


def below(lines: list[str], row: int, column: int) -> str:
    return meets(lines[row + 1 :], column)


def meets(lines: list[str], column: int) -> str:
    """The word to which a line leads that runs up or down in this column."""
    for line in lines:
        for word in re.finditer(r"\w+", line):
            if word.start() <= column < word.end():
                return word[0]
        assert line[column : column + 1] == "│", line
    raise AssertionError("a line leads nowhere")


def test_each_drawn_arrow_is_a_move_that_the_ledger_allows_by_steps_that_exist():
    arrows = list(drawn())
    steps = {step.name.lower() for step in Step}
    for source, over, to in arrows:
        assert State(to) in TRANSITIONS[State(source)], (source, to)
        assert {step.strip() for step in over.split(",") if step} <= steps, over
    assert len(arrows) == text_of(README).count("▶") + text_of(README).count("▲")


def test_the_flow_leaves_out_no_state():
    told = {state for arrow in drawn() for state in arrow[::2]}
    told |= {code for code in code_in(README) if code in set(State)}
    assert told == set(State)


def test_the_table_of_the_flow_has_every_step_and_its_file():
    rows = dict(re.findall(r"^\| ([a-z ]+) \| `([\w/]+\.py)` \|", text_of(README), re.MULTILINE))
    for step in Step:
        assert rows[step.name.lower().replace("_", " ")] == f"{step.module.replace('.', '/')}.py"
    assert set(rows) - {step.name.lower().replace("_", " ") for step in Step} == {"create", "callback"}
