"""The rooms of the ledger: entered by their doors, in no circle, and a façade has each verb once."""

from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

from tests.test_layering import ROOT, files, imports, name_of
from worker.ledger import Ledger

LEDGER = ROOT / "worker" / "ledger"
GROUND_FLOOR = 11


def room_of(path: Path) -> str | None:
    """The room of the ledger that a file stands in; its own name on the ground floor, None outside."""
    inside = path.relative_to(LEDGER).parts if path.is_relative_to(LEDGER) else ()
    return inside[0].removesuffix(".py") if inside else None


def test_whoever_is_not_in_a_room_of_the_ledger_enters_it_by_its_door():
    wrong = [
        f"{name_of(path)}:{line}: {module}"
        for path in files("worker", "tasks", "webhook")
        for module, line in imports(path)
        if module.startswith("worker.ledger.") and module.count(".") > 2 and module.split(".")[2] != room_of(path)
    ]
    assert not wrong, "import these names from the room itself, and export them in its __init__.py: " + "\n".join(wrong)


def test_the_rooms_of_the_ledger_import_each_other_in_no_circle():
    arrows: dict[str, set[str]] = {}
    for path in files("worker/ledger"):
        mine = str(room_of(path))
        theirs = {module.split(".")[2] for module, _ in imports(path) if module.startswith("worker.ledger.")}
        arrows.setdefault(mine, set()).update(theirs - {mine})
    assert arrows["generations"]
    # Raises CycleError, which names the circle.
    TopologicalSorter(arrows).prepare()


def test_what_concerns_all_subjects_is_little_enough_to_be_seen_at_once():
    assert len(list(LEDGER.glob("*.py"))) <= GROUND_FLOOR


def test_no_part_of_a_facade_hides_a_name_of_another():
    """They inherit, so one of two methods with the same name would never be called."""
    for name, facade in vars(Ledger("sqlite:////nowhere")).items():
        parts = [part for part in type(facade).__mro__ if part.__module__.startswith("worker.ledger.")]
        names = Counter(name for part in parts for name in vars(part) if not name.startswith("__"))
        assert names, name
        assert {verb for verb, times in names.items() if times > 1} == set(), name
