"""What is published about events: their JSON Schema, and an example of each."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from tasks.usecases.events.data import OfGeneration
from tasks.usecases.events.models import AnyEvent

SCHEMA_ID = "urn:darkroom:events:1"

#: type → model, in the order of the documentation
EVENTS: Mapping[str, type[BaseModel]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(get_args(AnyEvent)[0])
}


def schema_document() -> dict[str, Any]:
    """Return the JSON Schema of all events (`deploy/events.schema.json`)."""
    schema = TypeAdapter(AnyEvent).json_schema(mode="serialization", ref_template="#/$defs/{model}")
    # A keyword of OpenAPI that JSON Schema does not have.
    del schema["discriminator"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Darkroom events",
        "description": "What webhooks, Celery tasks, GET /v1/events and `darkroom events` return. Fields may be added.",
        **schema,
    }


def description_of(event_type: str) -> str:
    """Return when an event of this type is sent."""
    return " ".join(str(_data_of(event_type).__doc__).split())


def example_of(event_type: str) -> dict[str, Any]:
    """Return an event made from the examples in its model."""
    return {**_example(EVENTS[event_type]), "type": event_type}


def own_fields_of(event_type: str) -> Mapping[str, FieldInfo]:
    """Return the fields of its data that are not common to all events about a generation."""
    fields = _data_of(event_type).model_fields
    return {name: field for name, field in fields.items() if name not in OfGeneration.model_fields}


def _data_of(event_type: str) -> type[BaseModel]:
    data: Any = EVENTS[event_type].model_fields["data"].annotation
    found: type[BaseModel] = data
    return found


def _example(model: type[BaseModel]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if field.examples:
            found[name] = field.examples[0]
        elif name == "type":
            # Reserve its position; the caller fills it in.
            found[name] = None
        elif nested := [*_models_in(field.annotation)]:
            one = _example(nested[0])
            found[name] = [one] if "list[" in str(field.annotation) else one
    return found


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for one in get_args(annotation):
        yield from _models_in(one)
