"""`deploy/EVENTS.md` has every event that the code records, with its fields.

Those of its own are read from the calls of `Changes.event`, those of any event from events that are delivered.
"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from tasks.notify import envelope
from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, accepted, archived, failure, new, submitted
from worker.ledger import Ledger
from worker.ledger.changes import _EVENT_OF_STATE
from worker.ledger.events import EventDelivery, Handed
from worker.ledger.submission import Submitted

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "deploy" / "EVENTS.md").read_text(encoding="utf-8")
#: arguments of `Changes.event` that any event may have
OF_ANY = {"generation_id", "batch_id"}


def documented() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|.*\|([^|]*)\|$", PAGE, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", fields)) for name, fields in rows}


def documented_of_any() -> set[str]:
    table = PAGE.partition("| field |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", table, re.MULTILINE)
    return {field for row in rows for field in re.findall(r"`(\w+)`", row)}


def recorded() -> dict[str, set[str]]:
    """Fields by event; of events that share a call, the fields of all of them."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in sorted((ROOT / "worker" / "ledger").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in calls_of_event(function):
                for name in names(call.args[0], function):
                    found[name] |= set(fields(call, function, tree))
    return dict(found)


def calls_of_event(function: ast.FunctionDef) -> Iterator[ast.Call]:
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "event":
            yield node


def names(argument: ast.expr, function: ast.FunctionDef) -> list[str]:
    if isinstance(argument, ast.Constant):
        return [str(argument.value)]
    if isinstance(argument, ast.Subscript):
        return [*_EVENT_OF_STATE.values()]
    values = (value for value in assigned(argument, function) if isinstance(value, ast.Constant))
    return [str(value.value) for value in values if value.value is not None]


def fields(call: ast.Call, function: ast.FunctionDef, tree: ast.Module) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg is None:
            yield from keys(keyword.value, function, tree)
        elif keyword.arg not in OF_ANY:
            yield keyword.arg


def keys(value: ast.expr, function: ast.FunctionDef, tree: ast.Module) -> Iterator[str]:
    """Of a mapping that is passed as keywords: of each dictionary that its name is given."""
    if isinstance(value, ast.Dict):
        for key, item in zip(value.keys, value.values, strict=True):
            if key is None:
                yield from keys(item, function, tree)
            else:
                assert isinstance(key, ast.Constant), ast.unparse(value)
                yield from {str(key.value)} - OF_ANY
        return
    dictionaries = assigned(value, function if isinstance(value, ast.Name) else tree)
    assert dictionaries, f"nothing tells which fields {ast.unparse(value)} has"
    for dictionary in dictionaries:
        assert isinstance(dictionary, ast.Dict), ast.unparse(dictionary)
        yield from keys(dictionary, function, tree)


def assigned(target: ast.expr, within: ast.AST) -> list[ast.expr]:
    found = []
    for node in ast.walk(within):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        if value is not None and ast.unparse(target) in {ast.unparse(one) for one in targets if one is not None}:
            found.append(value)
    return found


def test_every_event_is_documented_and_no_other():
    assert documented().keys() == recorded().keys()


def test_every_field_is_documented_and_no_other():
    page, code = documented(), recorded()
    # One call records both.
    shared = {"asset.archived", "asset.expired"}
    both = page["asset.archived"] | page["asset.expired"]
    assert code["asset.archived"] == code["asset.expired"] == both
    assert {name: page[name] for name in page if name not in shared} == {
        name: code[name] for name in code if name not in shared
    }


def delivered(ledger: Ledger) -> Iterator[EventDelivery]:
    (claim,) = ledger.events.claim(["shop"], 1, timedelta(minutes=1))
    assert ledger.events.enqueue_new(claim, lambda _: True)
    delivery = ledger.events.record_and_claim_next(claim, timedelta(minutes=1))
    while delivery is not None:
        yield delivery
        delivery = ledger.events.record_and_claim_next(claim, timedelta(minutes=1), Handed(delivery))


def test_the_fields_that_any_event_has_are_documented_and_no_others(sqlite_url: str, clock: FakeClock):
    with closing(Ledger(sqlite_url, clock=clock)) as ledger:
        ledger.events.register_subscribers(["shop"])
        (parent,) = archived(ledger, key="sku-0042", batch="spring")
        (child,) = submitted(ledger, action="upscale1", parent_id=parent, depth=1)
        ledger.generations.apply_outcomes([failure(child)])
        ledger.generations.create([new(is_test=True)])
        ledger.dispatch.run_tests(PROVIDER, PLENTY)
        (test,) = ledger.submissions.claim(1, LEASE)
        ledger.submissions.record([Submitted(test.attempt_id, accepted(test))], POLL_AFTER)
        documents = [envelope(delivery) for delivery in delivered(ledger)]
    own = documented()
    found = {field for one in documents for field in one["data"].keys() - own[one["type"]]}
    assert found == documented_of_any()
