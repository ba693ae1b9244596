"""Every event that the tests record or show is as it is published (`tasks/usecases/events/models.py`)."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import jsonschema
import pytest
from pydantic import TypeAdapter, ValidationError

from tasks.usecases import views
from tasks.usecases.events.published import EVENTS, schema_document
from worker.ledger.changes import Changes

_wrong: list[str] = []


def found_wrong() -> list[str]:
    """What was wrong since it was asked last."""
    found = _wrong[:]
    _wrong.clear()
    return found


@contextmanager
def checked() -> Iterator[None]:
    """In it, events are compared when they are recorded and when they are shown; names of the tests' own are not."""
    record, show = Changes.event, views.of_event

    def recorded(self: Changes, name: str, **facts: Any) -> None:
        payload = {field: one for field, one in facts.items() if field not in {"generation_id", "batch_id"}}
        _check(name, payload, check_recorded)
        record(self, name, **facts)

    def shown(event: Any, place: Any) -> dict[str, Any]:
        document = show(event, place)
        _check(event.type, document, check_shown)
        return document

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Changes, "event", recorded)
        patch.setattr(views, "of_event", shown)
        yield


@cache
def schema() -> jsonschema.Draft202012Validator:
    """To check the schema takes longer than all events of the tests."""
    return jsonschema.Draft202012Validator(schema_document())


def check_recorded(event_type: str, payload: Mapping[str, Any]) -> None:
    """Raises ValidationError, and KeyError for a field that is not published."""
    for name, value in payload.items():
        adapter = _field(event_type, name)
        if value is not None:
            adapter.validate_python(value)


def check_shown(event_type: str, document: Mapping[str, Any]) -> None:
    EVENTS[event_type].model_validate_json(json.dumps(document))
    if None in document["data"].values():
        raise KeyError(f"null in {document}")


@cache
def _field(event_type: str, name: str) -> TypeAdapter[Any]:
    data: Any = EVENTS[event_type].model_fields["data"].annotation
    return TypeAdapter(data.model_fields[name].annotation)


def _check(event_type: str, facts: Mapping[str, Any], check: Callable[[str, Mapping[str, Any]], None]) -> None:
    if event_type in EVENTS:
        try:
            check(event_type, facts)
        except (ValidationError, KeyError) as error:
            # Kept until the end of the file: the program takes some errors for those of a subscriber.
            _wrong.append(f"{event_type}: {error!r} in {facts}")
