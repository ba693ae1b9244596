"""No test of the fast suite asserts that something took at most a time: that says more about the machine than the code.

Assert on an event instead (it ended while the other side still hangs), give a wait a generous deadline (`wait_for`,
`join(patient(10))`), or measure it in `tests/bench`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
#: they measure, or check what a process manager allows a process
ELSEWHERE = {"bench", "chaos", "system"}
CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time"}


class Module:
    """The names of a module that hold moments and durations, wherever they are assigned or returned."""

    def __init__(self, source: str) -> None:
        self.tree = ast.parse(source)
        self.moments: set[str] = set()
        self.durations: set[str] = set()
        known = -1
        while known != (known := len(self.moments) + len(self.durations)):
            for node in ast.walk(self.tree):
                self._learn(node)

    def upper_bounds(self) -> Iterator[int]:
        """The lines of assertions that a duration, or the time now, is less than something."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Assert):
                for compared in ast.walk(node.test):
                    if isinstance(compared, ast.Compare) and any(map(self._is_measured, _smaller_sides(compared))):
                        yield node.lineno

    def _is_measured(self, side: ast.expr) -> bool:
        return self._is_duration(side) or _is_now(side)

    def _learn(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                names = {name for target in targets for name in _names(target)}
            case ast.AnnAssign(target=target, value=ast.expr() as value) | ast.NamedExpr(target=target, value=value):
                names = _names(target)
            case ast.AugAssign(target=target, value=value) | ast.For(target=target, iter=value):
                names = _names(target)
            case ast.Call(func=ast.Attribute(value=ast.expr() as target, attr="append" | "put"), args=[value]):
                names = _names(target)
            case ast.FunctionDef(name=name):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Return) and inner.value is not None:
                        self._add({name}, inner.value)
                return
            case _:
                return
        self._add(names, value)

    def _add(self, names: set[str], value: ast.expr) -> None:
        if self._is_duration(value):
            self.durations |= names
        elif self._is_moment(value):
            self.moments |= names

    def _is_moment(self, value: ast.expr) -> bool:
        return any(_is_now(node) or _name(node) in self.moments for node in ast.walk(value))

    def _is_duration(self, value: ast.expr) -> bool:
        for node in ast.walk(value):
            if _name(node) in self.durations:
                return True
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and self._is_moment(node):
                return True
        return False


def _is_now(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and not node.args and _name(node.func) in CLOCKS


def _name(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None


def _names(target: ast.expr) -> set[str]:
    """What a target assigns to; of `self.times[0]` it is `times`."""
    match target:
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return {name for part in parts for name in _names(part)}
        case ast.Subscript(value=inner) | ast.Starred(value=inner):
            return _names(inner)
    name = _name(target)
    return {name} if name else set()


def _smaller_sides(compared: ast.Compare) -> Iterator[ast.expr]:
    sides = [compared.left, *compared.comparators]
    for left, operator, right in zip(sides, compared.ops, sides[1:], strict=False):
        if isinstance(operator, ast.Lt | ast.LtE):
            yield left
        elif isinstance(operator, ast.Gt | ast.GtE):
            yield right


def test_no_test_of_the_fast_suite_limits_how_long_something_takes() -> None:
    found = [
        f"{path.relative_to(TESTS.parent)}:{line}"
        for path in sorted(TESTS.rglob("*.py"))
        if ELSEWHERE.isdisjoint(path.relative_to(TESTS).parts)
        if any(f"{clock}()" in (source := path.read_text(encoding="utf-8")) for clock in CLOCKS)
        for line in Module(source).upper_bounds()
    ]
    assert not found, f"{__doc__}\n" + "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "began = time.monotonic()\nassert time.monotonic() - began < patient(1)",
        "began = time.monotonic()\ntook = time.monotonic() - began\nassert 0.5 <= took <= 3",
        "began = perf_counter()\ntook['a'] = perf_counter() - began\nassert 3 > max(took.values())",
        "began = time.time()\ntimes.append(time.time() - began)\nassert sum(times) < 3",
        "pressed = time.time()\nself.times.append(time.time())\nassert ring.times[0] - pressed < 3",
        "def timed():\n    began = time.time()\n    return 7, time.time() - began\n_, took = timed()\nassert took < 3",
        "assert abs(stamp - time.time()) < 5",
        "assert time.monotonic() < deadline",
    ],
)
def test_an_upper_bound_on_a_measured_duration_is_found(source: str) -> None:
    assert list(Module(source).upper_bounds()) == [source.count("\n") + 1]


@pytest.mark.parametrize(
    "source",
    [
        "began = time.monotonic()\nassert time.monotonic() - began >= 0.5",
        "before = int(time.time())\nassert before <= stamp <= time.time()",
        "deadline = time.monotonic() + 3\nwhile time.monotonic() < deadline:\n    work()",
        "assert len(found) - 1 < 3",
    ],
)
def test_lower_bounds_and_points_in_time_are_allowed(source: str) -> None:
    assert not list(Module(source).upper_bounds())
