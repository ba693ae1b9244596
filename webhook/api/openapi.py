"""The OpenAPI 3.1 document, made from the routes and the models."""

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tasks.usecases.events.published import EVENTS, description_of
from webhook.api.models.problem import Problem
from webhook.api.problems import MEDIA_TYPE
from webhook.api.reading import is_needed
from webhook.api.routes import Answer, Operation

_REFERENCE = "#/components/schemas/{model}"
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=30`: answer when it is final, or after 30 seconds; see `Preference-Applied` in the answer.",
    "schema": {"type": "string", "examples": ["wait=30"]},
}
#: every operation may answer these
_ALWAYS = (400, 401, 403, 429, 503)
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same request carries it out once. Required unless each item has a `key`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def document_of(operations: Sequence[Operation]) -> dict[str, Any]:
    found: set[type[BaseModel]] = {model for one in operations for model in _models(one)}
    found |= {Problem, *EVENTS.values()}
    models = sorted(found, key=lambda one: one.__name__)
    inputs = {one.body for one in operations if one.body} | {one.query for one in operations if one.query}
    schemas, definitions = models_json_schema(
        [(model, "validation" if model in inputs else "serialization") for model in models],
        ref_template=_REFERENCE,
    )
    references: dict[Any, Any] = {model: schema for (model, _), schema in schemas.items()}
    paths: dict[str, Any] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Darkroom",
            "version": version("darkroom"),
            "description": "Submit, steer and read generations.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "webhooks": {name: {"post": _webhook(name, references[model])} for name, model in EVENTS.items()},
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of `darkroom token create`."}
            },
        },
    }


def _webhook(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """How a subscriber gets an event, by Standard Webhooks 1.0."""
    headers = {
        "webhook-id": "The id of the event, the same for each try.",
        "webhook-timestamp": "Unix time of this try.",
        "webhook-signature": "v1 and the base64 of the HMAC-SHA256, for each secret.",
    }
    return {
        "operationId": f"on_{name.replace('.', '_')}",
        "tags": ["events"],
        "summary": description_of(name),
        "security": [],
        "parameters": [
            {"name": header, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for header, text in headers.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"2XX": {"description": "Accepted."}, "410": {"description": "Never send this event again."}},
    }


def _models(operation: Operation) -> Iterator[type[BaseModel]]:
    yield from (model for model in (operation.query, operation.body) if model is not None)
    yield from (answer for answer in operation.answers.values() if isinstance(answer, type))


def _operation(operation: Operation, references: Mapping[type[BaseModel], Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
        **({"description": operation.description} if operation.description else {}),
        "parameters": list(_parameters(operation)),
        "responses": {
            **{str(status): _response(status, answer, references) for status, answer in operation.answers.items()},
            **{str(status): _problem(status) for status in sorted({*_ALWAYS, *operation.problems})},
        },
    }
    if operation.body is not None or operation.media:
        content: dict[str, Any] = {media: {} for media in operation.media}
        if operation.body is not None:
            content = {"application/json": {"schema": references[operation.body]}, **content}
        described["requestBody"] = {"required": operation.body is None or is_needed(operation.body), "content": content}
    return described


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", operation.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
    if operation.query is not None:
        schema = operation.query.model_json_schema(ref_template=_REFERENCE)
        for name, property_ in schema["properties"].items():
            description = {"description": property_["description"]} if "description" in property_ else {}
            is_required = name in schema.get("required", ())
            yield {"name": name, "in": "query", "required": is_required, "schema": property_, **description}
        if "wait" in schema["properties"]:
            yield _PREFER
    if operation.may_cost:
        yield _IDEMPOTENCY_KEY


def _response(status: int, answer: Answer, references: Mapping[type[BaseModel], Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if answer is None:
        return described
    if isinstance(answer, type):
        return described | {"content": {"application/json": {"schema": references[answer]}}}
    return described | {"content": {media: {} for media in ([answer] if isinstance(answer, str) else answer)}}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
