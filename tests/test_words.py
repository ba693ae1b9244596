"""What people read is plain English: docstrings of public names, sentences in the code, and the pages.

Comments and private docstrings are left to the reviewer.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

TREE = Path(__file__).parents[1]
#: what is read; a folder stands for its Python files
ROOTS = (
    "webhook",
    "worker",
    "tasks",
    "*.md",
    "deploy/*.md",
    "deploy/decisions/*.md",
    "deploy/env.example",
    "deploy/*.yaml",
    "webhook/console/templates/console/*.html",
)
#: a migration stays as it was released
RELEASED = "worker/ledger/migrations/versions/"
#: the house's old dialect → what to write
BETTER = {
    r"wish(es|ed)?": "request, or generation",
    r"shall": "must, should, or the present tense",
    r"bells?|rung|rings? for": "wake-up",
    r"(take[ns]?|took|taking) in": "import",
    r"go(es|ne|ing)? on|went on": "continue, resume",
    r"(is|are|was|were|be) told": "say who reports what: 'the log shows', 'subscribers receive'",
    r"mend(s|ed|ing)?": "fix, repair",
    r"who is new": "new subscribers",
    r"such a one": "it, one, or the noun",
    r"that of|those of": "the noun again, or a possessive",
    r"so many": "the number",
    r"anew": "again",
    r"films?": "video",
    r"pictures?": "image",
    r"slip of the pen": "typo",
    r"pretend(ed)?|simulated (midjourney )?providers?": "sandbox provider",
    r"given up": "abandoned",
    r"(can(not)?|may) be had": "is (not) available",
}
#: text in which a word is not ours, with the reason
ALLOWED = {
    "35 mm film": "a prompt of the sandbox's example",
    "35mm photograph": "the same",
    "film grain": "the same",
    "wide view, film": "the same",
}
_DIALECT = re.compile("|".join(rf"\b(?:{words})\b" for words in BETTER).replace(" ", r"\s+"), re.IGNORECASE)

#: Jinja first: a tag may contain some of it, and that a ">"
_MARKUP = (re.compile(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", re.DOTALL), re.compile(r"<[^>]*>"))


class Text(NamedTuple):
    """`line`: where it begins."""

    path: str
    line: int
    text: str


def better_for(found: str) -> str:
    return next(better for words, better in BETTER.items() if re.fullmatch(words, found, re.IGNORECASE))


def complaints(texts: Iterator[Text]) -> list[str]:
    """File, line and the better word for each word of the dialect."""
    found = []
    for one in texts:
        # Names in backticks are not prose.
        text = re.sub(r"`[^`]*`", lambda name: "\n" * name[0].count("\n"), one.text)
        for allowed in ALLOWED:
            text = text.replace(allowed, "")
        for match in _DIALECT.finditer(text):
            line, words = one.line + text[: match.start()].count("\n"), " ".join(match[0].split())
            found.append(f"{one.path}:{line}: {words!r}; better: {better_for(words)}")
    return found


def texts() -> Iterator[Text]:
    for root in ROOTS:
        for path in sorted((TREE / root).rglob("*.py") if (TREE / root).is_dir() else TREE.glob(root)):
            name = path.relative_to(TREE).as_posix()
            if not name.startswith(RELEASED):
                source = path.read_text(encoding="utf-8")
                # Parsing is slow, and most files have none of the words.
                if _DIALECT.search(source):
                    if path.suffix == ".html":
                        source = without_markup(source)
                    yield from sentences(name, source) if path.suffix == ".py" else [Text(name, 1, source)]


def without_markup(source: str) -> str:
    """Return what readers of a template see; each line keeps its number."""
    for markup in _MARKUP:
        source = markup.sub(lambda found: "\n" * found[0].count("\n"), source)
    return source


def sentences(path: str, source: str) -> Iterator[Text]:
    """Docstrings of public names, and every other text of more than one word."""
    docstrings = set()
    # A docstring comes after the node that it belongs to.
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node) is not None and isinstance(node.body[0], ast.Expr):
                docstrings.add(node.body[0].value)
                if not getattr(node, "name", "").startswith("_"):
                    yield Text(path, node.body[0].lineno, ast.get_docstring(node, clean=False) or "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings:
            # One word is a name.
            yield from [Text(path, node.lineno, node.value)] * (" " in node.value.strip())


def test_what_people_read_is_plain_english() -> None:
    found = complaints(texts())
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""Ring the bell."""', ["x.py:1: 'bell'; better: wake-up"]),
        ('x = f"{n} pictures are\\nwaiting"', ["x.py:1: 'pictures'; better: image"]),
        (
            'def f():\n    """One.\n\n    It goes\n    on by itself.\n    """',
            ["x.py:4: 'goes on'; better: continue, resume"],
        ),
        ('def _f():\n    """A private wish."""', []),
        ("# a comment about bells\nx = 'shall'", []),
        ('x = "the table `bells` is `picture`"', []),
        ('x = "recommended; wishbone; repictured"', []),
    ],
)
def test_the_dialect_is_found_where_people_read_it_and_nowhere_else(source: str, found: list[str]) -> None:
    assert complaints(sentences("x.py", source)) == found
