"""Every property is tried with few examples by `make test` and with all of them by `make test-system`."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import Phase, settings

from tests import examples

TESTS = Path(__file__).parent


def test_no_property_has_a_number_of_examples_that_is_the_same_for_both() -> None:
    fixed = re.compile(r"max_examples=(?!examples\()")
    found = [
        str(path.relative_to(TESTS.parent))
        for path in sorted(TESTS.rglob("test_*.py"))
        if path != Path(__file__) and fixed.search(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"write `max_examples=examples(NUMBER)` (tests/examples.py) in {found}"


def test_all_examples_are_tried_by_the_run_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.get_profile("thorough").max_examples == 100
    assert Phase.shrink not in settings.get_profile("thorough").phases
    tried = {}
    for profile in ("fast", "thorough", "long"):
        monkeypatch.setattr(examples, "settings", SimpleNamespace(get_current_profile_name=lambda name=profile: name))
        tried[profile] = (examples.examples(60), examples.examples(4))
    assert tried == {"fast": (7, 2), "thorough": (60, 4), "long": (3600, 240)}


def test_each_test_is_run_by_one_of_both() -> None:
    fast = (TESTS.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert "-m 'not (system or processes or browser)'" in fast
    makefile = (TESTS.parent / "Makefile").read_text(encoding="utf-8")
    assert "-m 'system or processes or browser or hypothesis' --hypothesis-profile thorough" in makefile
