"""Each reason that the program can record has a category, and each category a remedy."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import worker
from worker.failures import REMEDIES, Category, category_of, is_known
from worker.generation import State, Trouble
from worker.providers.acedata import results as acedata
from worker.providers.kie import results as kie
from worker.providers.mjproxy import results as mjproxy
from worker.providers.ohmygpt import results as ohmygpt

ROOT = Path(worker.__file__).parent
#: why something waits or goes on, or what is not a generation's
NOT_FAILURES = {"budget", "another_key", "person", "probe"}


def literals() -> Iterator[str]:
    """What the code names as `code=…` or `reason=…`, and the words for what happened to a connection."""
    for path in (*ROOT.rglob("*.py"), *(ROOT.parent / "tasks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for keyword in node.keywords if isinstance(node, ast.Call) else ():
                if keyword.arg in {"code", "reason"}:
                    yield from texts(keyword.value)
    connection = ast.parse((ROOT / "providers" / "connection.py").read_text())
    for function in ast.walk(connection):
        if isinstance(function, ast.FunctionDef) and function.name in {"diagnose", "_why_not_connected"}:
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield from texts(node.value)


def texts(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.replace("_", "").isalnum():
            yield node.value


def test_each_reason_that_is_recorded_has_a_category():
    found = {one for one in (*literals(), *Trouble) if not one.endswith("_")} - NOT_FAILURES
    found |= {code for vendor in (acedata, kie, mjproxy, ohmygpt) for code in vendor.CODES}
    assert {"read_timeout", "charged_without_result", "not_translated", "used_up"} <= found
    assert sorted(one for one in found if not is_known(one)) == []


def test_each_category_has_a_remedy():
    assert REMEDIES.keys() == set(Category)


@pytest.mark.parametrize(
    ("state", "reason", "message", "category"),
    [
        (State.FAILED, "forbidden", "Sorry! Our AI moderators feel …", Category.MODERATION),
        (State.FAILED, "400", "The prompt may contain sensitive words", Category.MODERATION),
        (State.FAILED, "24", "可能包含敏感词", Category.MODERATION),
        (State.FAILED, "failed", "[Invalid parameter] Invalid value", Category.PARAMETERS),
        (State.FAILED, "bad_request", None, Category.PARAMETERS),
        (State.FAILED, "500", "insufficient balance", Category.CREDIT),
        (State.FAILED, "501", None, Category.PROVIDER),
        (State.FAILED, "what_nobody_has_seen", None, Category.PROVIDER),
        (State.FAILED, "http_418", None, Category.PARAMETERS),
        (State.FAILED, "http_502", None, Category.PROVIDER),
        (State.FAILED, "http_401", None, Category.CREDIT),
        (State.FAILED, "connection_lost", None, Category.NETWORK),
        (State.FAILED, None, None, Category.PROVIDER),
        (State.EXPIRED, "link_dead", None, Category.LINK),
        (State.EXPIRED, "bad_content", None, Category.CONTENT),
        (State.EXPIRED, "unreachable", None, Category.NETWORK),
        (State.EXPIRED, None, None, Category.LINK),
        (State.UNCONFIRMED, "read_timeout", None, Category.UNCONFIRMED),
        (State.CANCELLED, "cancelled", None, Category.CANCELLED),
        (State.QUEUED, "budget", None, None),
        (State.ARCHIVED, None, None, None),
    ],
)
def test_what_happened_is_told_by_state_reason_and_message(
    state: State, reason: str | None, message: str | None, category: Category | None
):
    assert category_of(state, reason, message) == category
