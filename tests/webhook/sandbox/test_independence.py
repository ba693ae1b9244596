import ast
from pathlib import Path

import webhook.sandbox


def test_the_sandbox_imports_nothing_of_ours():
    folder = Path(webhook.sandbox.__file__).parent
    imported = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
            elif isinstance(node, ast.Import):
                imported.update(alias.name for alias in node.names)
    ours = {name for name in imported if name.split(".")[0] in {"worker", "tasks", "webhook", "tests", "requests"}}
    assert {name for name in ours if not name.startswith("webhook.sandbox")} == set()
