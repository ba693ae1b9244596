"""What people read of these commands is the field's English, not a dialect of ours."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tasks.cli

ROOT = Path(tasks.cli.__file__).parent
FILES = (
    *("list", "show", "watch", "decide", "delete", "dead", "rescue", "at_risk", "unconfirmed", "resolve", "accept"),
    *("spend", "verify", "ui/progress", "ui/generation_table", "ui/totals", "ui/selecting", "ui/reconcile_report"),
    *("ui/candidates", "ui/wakeup"),
)
DIALECT = re.compile(
    r"\b(wish(es)?|shall|bells?|taken? (in|back)|(goes|go) on|is told|there is none|can(not)? be had|mended|so many|"
    r"picture that|nobody|given up|made elsewhere, and)\b"
)


def sentences(path: Path) -> Iterator[str]:
    """All texts of a module but the docstrings of what no command shows."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    hidden = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            is_command = any("command" in ast.unparse(one) for one in getattr(node, "decorator_list", ()))
            first = node.body[0] if node.body else None
            if not is_command and isinstance(first, ast.Expr):
                hidden.add(first.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in hidden:
            yield node.value


@pytest.mark.parametrize("name", FILES)
def test_no_sentence_is_in_dialect(name: str) -> None:
    found = [(found[0], text) for text in sentences(ROOT / f"{name}.py") if (found := DIALECT.search(text))]
    assert found == []
