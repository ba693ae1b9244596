"""Rooms and doors: imports point one way, each library has one home, and no file tells more than one story."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from tasks.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGES = ("webhook", "tasks", "worker")
FOLDERS = {*PACKAGES, "tests", "deploy"}
MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 80
#: commands that bring a machine of their own, or submit
DIRECT = {"demo", "up", "submit"}

#: webhook → tasks → worker
MAY_IMPORT = {"webhook": {"tasks", "worker"}, "tasks": {"worker"}, "worker": set()}

#: library, and the files that may import it
HOMES = {
    "flask": ["webhook/*"],
    "werkzeug": ["webhook/*"],
    "granian": ["webhook/*"],
    "celery": ["worker/celery.py", "worker/bells.py", "tasks/*"],
    "sqlalchemy": ["worker/ledger/*"],
    "alembic": ["worker/ledger/*"],
    "psycopg": ["worker/ledger/*"],
    "sqlite3": ["worker/ledger/*"],
    "boto3": ["worker/archive/*"],
    "botocore": ["worker/archive/*"],
    "requests": ["worker/providers/*", "worker/download*.py"],
    "click": ["tasks/cli/*"],
    "rich": ["tasks/cli/*"],
    "PIL": ["worker/decoding_child.py", "worker/providers/acedata_mask.py"],
    "yaml": ["worker/price_file.py"],
    "pydantic_settings": ["worker/settings.py"],
}


def files(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert found
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imports(path: Path, *, at_run_time: bool = False) -> tuple[tuple[str, int], ...]:
    """Every module that a file imports, also inside of functions, and the line.

    `at_run_time`: without those that only the type checker reads.
    """
    return tuple(_imports(path, at_run_time=at_run_time))


def _imports(path: Path, *, at_run_time: bool) -> Iterator[tuple[str, int]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    unread = {child for block in blocks for child in ast.walk(block)} if at_run_time else set()
    for node in ast.walk(tree):
        if node in unread:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno}: relative import; write the whole name"
            yield str(node.module), node.lineno


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_point_one_way(package: str):
    forbidden = {*PACKAGES, "tests"} - {package} - MAY_IMPORT[package]
    wrong = [
        f"{name_of(path)}:{line}: {package} imports {module}"
        for path in files(package)
        for module, line in imports(path)
        if module.partition(".")[0] in forbidden
    ]
    assert not wrong, "\n".join(wrong)


def test_the_sandbox_knows_nothing_of_ours():
    """It plays the providers: what it knew of us could hide what we got wrong."""
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in files("webhook/sandbox")
        for module, line in imports(path)
        if module.partition(".")[0] in PACKAGES and not module.startswith("webhook.sandbox")
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_of_ours_needs_the_sandbox():
    wrong = [
        f"{name_of(path)}:{line}"
        for path in files(*PACKAGES)
        if not name_of(path).startswith("webhook/sandbox/")
        for module, line in imports(path)
        if module.startswith("webhook.sandbox")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_one_home(library: str):
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in files(*PACKAGES)
        if not any(fnmatch(name_of(path), home) for home in HOMES[library])
        for module, line in imports(path)
        if module.partition(".")[0] == library and not name_of(path).startswith("webhook/sandbox/")
    ]
    assert not wrong, "\n".join(wrong)


def test_the_pure_files_import_nothing_but_each_other():
    pure = ["worker/generation.py", "worker/errors.py", "worker/recipe.py", "worker/deadline.py"]
    for name in pure:
        for module, line in imports(ROOT / name):
            is_ours = module.partition(".")[0] == "worker"
            assert not is_ours or module in {"worker.errors", "worker.generation"}, f"{name}:{line}: {module}"


def test_use_cases_know_no_front_door():
    """They serve the command line, HTTP and the browser alike, and print nothing."""
    doors = ("tasks.cli", "click", "rich", "flask")
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in files("tasks/usecases")
        for module, line in imports(path)
        if module.startswith(doors)
    ]
    wrong += [
        f"{name_of(path)}:{call.lineno}: print"
        for path in files("tasks/usecases")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "print"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - DIRECT))
def test_a_command_asks_use_cases_and_neither_the_ledger_nor_a_provider(name: str):
    module = COMMANDS[name][0].partition(":")[0]
    path = ROOT / f"{module.replace('.', '/')}.py"
    wrong = [f"{line}: {one}" for one, line in imports(path) if one.startswith(("worker.ledger", "worker.providers"))]
    assert not wrong, "\n".join(wrong)


def test_no_function_of_a_command_is_longer_than_a_page():
    functions = (
        (path, node)
        for path in files("tasks/cli")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    )
    lengths = {f"{name_of(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1 for path, node in functions}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES_OF_A_FUNCTION} == {}


def test_no_file_is_longer_than_one_story():
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files(*PACKAGES)}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_the_top_folders_are_those_agreed():
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert {name for name in found if not name.startswith((".", "darkroom-data", "build", "dist"))} <= FOLDERS
    assert set(PACKAGES) <= found


def test_every_package_is_one():
    """A folder without `__init__.py` would be left out of the wheel's imports without a word."""
    missing = {
        name_of(path.parent)
        for path in files(*PACKAGES)
        if not (path.parent / "__init__.py").exists() and "migrations" not in path.parts
    }
    assert missing == set()
