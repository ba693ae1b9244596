"""Events are published once: models, JSON Schema, documentation and what the code records are the same.

`GOLDEN=write` writes the schema, and the part of `deploy/EVENTS.md` that is made from the models.
"""

import ast
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from tasks.usecases import views
from tasks.usecases.events.data import OfGeneration
from tasks.usecases.events.place import EventPlace
from tasks.usecases.events.published import EVENTS, description_of, example_of, own_fields_of, schema_document
from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, accepted, archived, failure, new, submitted
from tests.golden.golden import SWITCH
from tests.published_events import check_recorded, check_shown, schema
from worker.archive import Keys
from worker.ledger import Ledger
from worker.ledger.changes import _EVENT_OF_STATE
from worker.ledger.events import DeliveryFilter, EventDelivery, Handed
from worker.ledger.submission import Submitted

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "deploy" / "EVENTS.md"
SCHEMA = ROOT / "deploy" / "events.schema.json"
#: between them the page is made from the models
MARKS = ("<!-- made from tasks/usecases/events/data.py -->\n", "<!-- end -->\n")
#: arguments of `Changes.event` that any event may have
OF_ANY = {"generation_id", "batch_id"}


def made_from_the_models() -> str:
    fields = OfGeneration.model_fields.items()
    common = [
        "Fields of every event about a generation or a batch:\n",
        "| field | meaning |\n|---|---|",
        *(f"| `{name}` | {field.description} |" for name, field in fields),
        "",
    ]
    return "\n".join([*common, *(section(name) for name in EVENTS)])


def section(name: str) -> str:
    body = json.dumps(example_of(name), indent=2, ensure_ascii=False)
    lines = [f"### `{name}`\n", f"{description_of(name)}\n", f"```json\n{body}\n```\n"]
    own = [f"| `{field}` | {one.description or ''} |" for field, one in own_fields_of(name).items()]
    return "\n".join([*lines, *(["| its own fields | |\n|---|---|", *own, ""] if own else [])])


def compare(path: Path, text: str) -> None:
    if os.environ.get(SWITCH) == "write":
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, f"{path.name} is not as the models say: run with {SWITCH}=write"


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
            # `told`: the reason of a state, which `test_the_reason…` looks at.
            if ast.unparse(keyword.value) != "told" or function.name != "record":
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


def test_every_event_that_the_code_records_is_published_and_no_other():
    assert recorded().keys() == EVENTS.keys()


def test_every_field_that_the_code_records_is_published():
    # One call records both.
    shared = {"asset.archived": {"reason", "error"}, "asset.expired": {"object_key", "sha256", "remark"}}
    unpublished = {
        name: own - EVENTS[name].model_fields["data"].annotation.model_fields.keys() - shared.get(name, set())
        for name, own in recorded().items()
    }
    assert not any(unpublished.values()), unpublished


def test_the_schema_is_the_one_that_the_models_give():
    document = schema_document()
    compare(SCHEMA, f"{json.dumps(document, indent=2, ensure_ascii=False)}\n")
    jsonschema.Draft202012Validator.check_schema(document)


def test_the_page_shows_every_event_as_the_models_describe_it():
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    compare(PAGE, f"{before}{MARKS[0]}\n{made_from_the_models()}\n{MARKS[1]}{after}")


@pytest.mark.parametrize("name", EVENTS)
def test_an_example_is_valid(name: str):
    example = example_of(name)
    schema().validate(example)
    check_shown(name, example)


def test_the_schema_allows_no_null_and_no_wrong_value_but_fields_that_are_added_later():
    example = example_of("generation.failed")
    for wrong in ({"key": None}, {"generation_id": "task-1"}, {"operation": "paint"}):
        with pytest.raises(jsonschema.ValidationError):
            schema().validate({**example, "data": {**example["data"], **wrong}})
    schema().validate({**example, "data": {**example["data"], "new": 1}})


def test_a_field_that_is_not_published_is_found():
    with pytest.raises(KeyError):
        check_recorded("generation.failed", {"prompt": "a fox"})
    example = example_of("generation.failed")
    for wrong in ({"prompt": "a fox"}, {"key": None}):
        with pytest.raises((ValidationError, KeyError)):
            check_shown("generation.failed", {**example, "data": {**example["data"], **wrong}})


def delivered(ledger: Ledger) -> Iterator[EventDelivery]:
    (claim,) = ledger.events.claim(["shop"], 1, timedelta(minutes=1))
    assert ledger.events.enqueue_new(claim, DeliveryFilter())
    delivery = ledger.events.record_and_claim_next(claim, timedelta(minutes=1))
    while delivery is not None:
        yield delivery
        delivery = ledger.events.record_and_claim_next(claim, timedelta(minutes=1), Handed(delivery))


def test_what_is_delivered_has_all_that_is_documented_of_a_generation(sqlite_url: str, clock: FakeClock):
    place = EventPlace("acme-images", Keys(), None)
    with closing(Ledger(sqlite_url, clock=clock)) as ledger:
        ledger.events.register_subscribers(["shop"])
        (parent,) = archived(ledger, key="sku-0042", batch="spring", labels={"client": "acme"})
        (child,) = submitted(ledger, action="upscale1", parent_id=parent, depth=1)
        ledger.generations.apply_outcomes([failure(child)])
        ledger.generations.create([new(is_test=True)])
        ledger.dispatch.run_tests(PROVIDER, PLENTY)
        (test,) = ledger.submissions.claim(1, LEASE)
        ledger.submissions.record([Submitted(test.attempt_id, accepted(test))], POLL_AFTER)
        documents = [views.of_event(delivery, place) for delivery in delivered(ledger)]
    for document in documents:
        schema().validate(document)
    found = {field for one in documents for field in one["data"]} & OfGeneration.model_fields.keys()
    assert found == OfGeneration.model_fields.keys()
    assert re.fullmatch(r"evt_\d+_[0-9a-f]+", documents[0]["id"])
