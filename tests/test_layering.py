"""Rooms and doors: imports point one way, each library has one home, and no file tells more than one story."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from tasks.cli import COMMANDS
from worker.steps import Step

ROOT = Path(__file__).parent.parent
PACKAGES = ("webhook", "tasks", "worker")
FOLDERS = {*PACKAGES, "tests", "deploy"}
#: a file may not have more lines; above 400 it is worth a look whether it tells two stories
MOST_LINES = 600

#: library, and the files that may import it
HOMES = {
    "flask": ["webhook/*"],
    "werkzeug": ["webhook/*"],
    "granian": ["webhook/*"],
    "itsdangerous": ["worker/correlation.py"],
    "limits": ["webhook/api/rates.py", "webhook/guesses.py", "worker/settings/rates.py"],
    "argon2": ["tasks/usecases/passwords.py"],
    "celery": ["worker/celery.py", "worker/wakeup.py", "tasks/*"],
    "sqlalchemy": ["worker/ledger/*"],
    "alembic": ["worker/ledger/*"],
    "psycopg": ["worker/ledger/*"],
    "sqlite3": ["worker/ledger/*"],
    "boto3": ["worker/archive/*"],
    "botocore": ["worker/archive/*"],
    "requests": ["worker/providers/*"],
    "click": ["tasks/cli/*"],
    "rich": ["tasks/cli/*"],
    "mcp": ["tasks/mcp/server.py"],
    "anyio": ["tasks/mcp/server.py"],
    "PIL": ["worker/media/decoding_child.py", "worker/providers/acedata/mask.py"],
    "yaml": ["worker/yaml_files/*", "worker/pricing/price_file.py", "worker/recipes/recipe_file.py"],
    "pydantic_settings": ["worker/settings/settings.py"],
}


#: modules with a state of their own, called by their names; a parser that only those pay for who have prices; and a
#: subject of the ledger that is one file
OPEN_DOORS = {
    "worker.runtime.shutdown",
    "worker.runtime.watchdog",
    "worker.pricing.price_file",
    "worker.ledger.restore_guard",
}


def files(*packages: str) -> list[Path]:
    found = [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]
    assert found
    return found


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def is_in(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


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


def test_layers_doors_and_circles_are_as_agreed():
    """The contracts for import-linter are in `pyproject.toml`."""
    check = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))",
    ]
    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nobody_imports_the_module_of_a_task():
    """What others need of it has a module of its own: with a task comes Celery."""
    tasks = {step.module for step in Step}
    wrong = [f"{name_of(path)}:{line}: {module}" for path in files(*PACKAGES) for module, line in imports(path)
             if module in tasks]  # fmt: skip
    assert not wrong, "\n".join(wrong)


def test_nobody_reaches_behind_a_door():
    """Also inside a room: import-linter's contracts look at the rooms of `worker` from outside."""
    doors = [path for path in files(*PACKAGES) if path.name == "__init__.py" and "__all__" in path.read_text("utf-8")]
    rooms = {name_of(path.parent).replace("/", "."): path.parent for path in doors}
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in files(*PACKAGES)
        for module, line in imports(path)
        if module not in rooms and module not in OPEN_DOORS
        if (room := rooms.get(module.rpartition(".")[0])) is not None and room not in path.parents
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


def test_use_cases_know_no_front_door():
    """A command line, an HTTP API and a browser ask for the same thing."""
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in files("tasks/usecases")
        for module, line in imports(path)
        if module.partition(".")[0] in {"click", "rich", "flask"} or is_in(module, ("tasks.cli", "webhook"))
    ]
    wrong += [
        f"{name_of(path)}:{call.lineno}: print"
        for path in files("tasks/usecases")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "print"
    ]
    assert not wrong, "\n".join(wrong)


def test_a_command_asks_use_cases_and_neither_ledger_nor_provider():
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in files("tasks/cli")
        for module, line in imports(path)
        if is_in(module, ("worker.ledger", "worker.providers"))
    ]
    assert not wrong, "\n".join(wrong)


def test_a_command_hands_services_to_use_cases_and_never_their_ledger():
    wrong = [
        f"{name_of(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in files("tasks/cli")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "ledger"
    ]
    assert not wrong, "\n".join(wrong)


def test_what_a_command_prints_as_json_is_a_view():
    """Another front door shows the same document. A command whose result no other can have makes its own."""
    alone = {"tasks/cli/demo/command.py", "tasks/cli/up.py"}
    wrong = [
        f"{name_of(path)}:{call.lineno}: {ast.unparse(call)}"
        for path in files("tasks/cli")
        if name_of(path) not in alone
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) == "print_json"
        and not _is_view(call.args[0], function)
    ]
    assert not wrong, "\n".join(wrong)


def _is_view(value: ast.expr, function: ast.FunctionDef) -> bool:
    """A call of one, or a name that has such a call as its only value in this function."""
    if isinstance(value, ast.Name):
        values = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and value.id in map(ast.unparse, node.targets)
        ]
        return len(values) == 1 and not isinstance(values[0], ast.Name) and _is_view(values[0], function)
    return isinstance(value, ast.Call) and ast.unparse(value.func).startswith("views.")


def test_a_command_is_short():
    wrong = [
        f"{name_of(path)}:{node.lineno}: {node.name} has {lines} lines"
        for path in files("tasks/cli")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (lines := int(node.end_lineno or 0) - node.lineno + 1) > 80
    ]
    assert not wrong, "\n".join(wrong)


def test_beside_its_rooms_the_command_line_has_only_commands():
    modules = {f"tasks.cli.{path.stem}" for path in (ROOT / "tasks/cli").glob("*.py")} - {"tasks.cli.__init__"}
    commands = {place.partition(":")[0] for place, _ in COMMANDS.values()}
    assert modules - commands == set()


def test_beside_its_rooms_worker_has_at_most_nine_modules():
    modules = sorted(path.stem for path in (ROOT / "worker").glob("*.py") if path.stem != "__init__")
    assert len(modules) <= 9, modules


def test_the_pure_files_import_nothing_but_each_other():
    pure = [
        "worker/generation.py",
        "worker/errors.py",
        "worker/recipes/recipe.py",
        "worker/recipes/follow_up_expression.py",
        "worker/downloads/link_expiry.py",
    ]
    allowed = {"worker.errors", "worker.generation", "worker.recipes.recipe"}
    for name in pure:
        for module, line in imports(ROOT / name):
            is_ours = module.partition(".")[0] == "worker"
            assert not is_ours or module in allowed, f"{name}:{line}: {module}"


def test_no_file_is_longer_than_one_story():
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in files(*PACKAGES)}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_a_dataclass_of_more_than_four_fields_is_made_by_keyword():
    """Of two that look alike, one stands in the place of the other sooner or later."""
    assert [
        f"{name_of(path)}:{node.lineno}: {node.name} has {count} fields and no kw_only"
        for path in files(*PACKAGES)
        for node, count in _positional(path)
        if count > 4
    ] == []


def _positional(path: Path) -> Iterator[tuple[ast.ClassDef, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            if any("dataclass" in one and "kw_only=True" not in one for one in decorators):
                fields = [ast.unparse(line.annotation) for line in node.body if isinstance(line, ast.AnnAssign)]
                yield node, sum(not annotation.startswith("ClassVar") for annotation in fields)


def test_the_ledger_reads_rows_through_a_query_that_knows_their_type():
    """Or a renamed column is found when it is read; one value of a row, or whether there is one, needs no type."""
    found = {
        f"{name_of(path)}:{line}"
        for path in files("worker/ledger")
        if "migrations" not in path.parts and "statements" not in path.parts
        for line in _rows_read(path)
    }
    assert found == set()


def _rows_read(path: Path) -> Iterator[int]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"all", "one", "one_or_none", "mappings"}:
            asked = node.value
        elif isinstance(node, ast.For | ast.comprehension):
            asked = node.iter
        else:
            continue
        if isinstance(asked, ast.Call) and ast.unparse(asked.func).rpartition(".")[2] == "execute":
            yield asked.lineno


def test_the_top_folders_are_those_agreed():
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert {name for name in found if not name.startswith((".", "darkroom-data", "build", "dist"))} <= FOLDERS
    assert set(PACKAGES) <= found


def test_browser_tests_have_one_limit_of_time_and_a_page_evaluates_no_text_for_them():
    texts = {path.name: path.read_text(encoding="utf-8") for path in files("tests/system/console")}
    assert [name for name, text in texts.items() if "set_options(" in text] == ["conftest.py"]
    # Its second look is forbidden by the page's policy, so it fails when the first one comes too early.
    assert [name for name, text in texts.items() if "wait_for_function(" in text] == []


def test_every_package_is_one():
    """A folder without `__init__.py` would be left out of the wheel's imports without a word."""
    missing = {
        name_of(path.parent)
        for path in files(*PACKAGES)
        if not (path.parent / "__init__.py").exists() and "migrations" not in path.parts
    }
    assert missing == set()
