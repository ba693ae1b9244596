"""A vendor is its own folder and one line in PROVIDERS: deleting both leaves nothing of it but its settings."""

import ast
import importlib

import pytest

from tests.test_layering import PACKAGES, ROOT, files, imports, name_of
from worker.providers import PROVIDERS, provider_class

FOLDER = "worker/providers"
#: its settings, and what only a demonstration says of it
#: the last two in examples of documents
MAY_NAME_A_VENDOR = (
    *("worker/providers/registry.py", "worker/settings", "tasks/cli/demo"),
    *("webhook/api/models/", "tasks/usecases/events/data.py"),
)


def vendor_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if parts[:2] == ["worker", "providers"] and len(parts) > 2 and parts[2] in PROVIDERS else None


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_vendor_has_the_same_files_and_a_door_with_its_class_alone(name: str):
    folder = ROOT / FOLDER / name
    assert {"__init__.py", "adapter.py", "capabilities.py", "results.py"} <= {path.name for path in folder.iterdir()}
    kind = provider_class(name)
    assert PROVIDERS[name] == f"worker.providers.{name}:{kind.__name__}"
    assert kind.name == name
    assert importlib.import_module(f"worker.providers.{name}").__all__ == [kind.__name__]
    assert kind.capabilities is importlib.import_module(f"worker.providers.{name}.capabilities").CAPABILITIES


def test_nobody_imports_from_a_vendor_but_itself():
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in files(*PACKAGES)
        for module, line in imports(path)
        if (vendor := vendor_of(module)) is not None and not name_of(path).startswith(f"{FOLDER}/{vendor}/")
    ]
    assert not wrong, "\n".join(wrong)


def test_nobody_behind_the_door_of_the_shared_words_but_themselves():
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in files(*PACKAGES)
        for module, line in imports(path)
        if module.startswith("worker.providers.discord.") and not name_of(path).startswith(f"{FOLDER}/discord/")
    ]
    assert not wrong, "\n".join(wrong)


def test_no_other_code_asks_which_vendor_it_is():
    wrong = []
    for path in files(*PACKAGES):
        name = name_of(path)
        vendor = name.removeprefix(f"{FOLDER}/").partition("/")[0]
        if name.startswith(("webhook/sandbox/", *MAY_NAME_A_VENDOR)) or vendor in PROVIDERS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            words = [getattr(node, "value", None), getattr(node, "attr", None), getattr(node, "id", None)]
            wrong += [f"{name}:{node.lineno}: {word}" for word in words if isinstance(word, str) and names_one(word)]
    assert not wrong, "\n".join(wrong)


def names_one(word: str) -> bool:
    """A name or a setting; not a sentence, which may tell somebody of a vendor."""
    prefixes = [f"{provider_class(name).prefix}_" for name in PROVIDERS]
    return " " not in word and (word in PROVIDERS or word.lower().startswith(tuple(prefixes)))
