"""The OpenAPI 3.1 document, generated from the routes and the models."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.http import HTTP_STATUS_CODES

from tasks.usecases.events.published import EVENTS, description_of
from webhook.api.examples import example_of
from webhook.api.models.events import events_document
from webhook.api.models.problem import Problem
from webhook.api.problems import MEDIA_TYPE
from webhook.api.reading import is_needed
from webhook.api.routes import Answer, Operation

_REFERENCE = "#/components/schemas/{model}"
_PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`wait=30`: answer when it is final, but after 30 seconds at the latest; see `Preference-Applied` "
    "in the answer.",
    "schema": {"type": "string", "examples": ["wait=30"]},
}
#: every operation may answer these
_ALWAYS = {400, 401, 403, 429, 500, 503}
_HEADERS = {
    "X-Request-Id": ("The id of this request, for logs and support; your own if you sent one.", "req_1f0c5a"),
    "Location": ("Where the result is.", "/v1/generations/gen_01a22359182c000000000f2b6c1e4a77"),
    "Preference-Applied": ("The wait that was applied; absent if too many requests were waiting.", "wait=30"),
    "Retry-After": ("Seconds after which the request may be repeated.", "5"),
    "Idempotent-Replayed": ("`true`: the request was carried out earlier, and nothing was created now.", "true"),
    "Allow": ("The methods that this path takes.", "GET, HEAD"),
}
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Requests with the same key and content are carried out once. Required unless each item has a "
    "`key`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
    "example": "order-4711",
}
_DESCRIPTION = """\
Submit, steer and read generations. `deploy/API.md` explains it task by task.

Errors are problems (RFC 9457) with a stable `code`. Lists are paged: pass `next` of one page as `after` for the next. A
request that can cost money needs an `Idempotency-Key`, or a `key` for each item, so that repeating it is harmless."""


def document_of(operations: Sequence[Operation]) -> dict[str, Any]:
    found: set[type[BaseModel]] = {model for one in operations for model in _models(one)}
    found |= {Problem, events_document(), *EVENTS.values()}
    models = sorted(found, key=lambda one: one.__name__)
    inputs = {one.body for one in operations if one.body} | {one.query for one in operations if one.query}
    schemas, definitions = models_json_schema(
        [(model, "validation" if model in inputs else "serialization") for model in models],
        ref_template=_REFERENCE,
    )
    references: dict[Any, Any] = {model: schema for (model, _), schema in schemas.items()}
    components = {name: untitled(schema) for name, schema in definitions.get("$defs", {}).items()}
    document = _Document(references, components)
    paths: dict[str, Any] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = document.operation(one)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Darkroom",
            "version": version("darkroom"),
            "summary": "Generations, each paid for at most once.",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "API_HOST and API_PORT"}],
        "security": [{"token": []}, {}],
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in operations)],
        "paths": paths,
        "webhooks": {name: {"post": _webhook(name, references[model])} for name, model in EVENTS.items()},
        "components": {
            "schemas": components,
            "responses": {
                _name_of(status): _problem(status)
                for status in sorted({status for one in operations for status in statuses_of(one)})
            },
            "headers": {
                name: {"description": text, "schema": {"type": "string"}, "example": example}
                for name, (text, example) in _HEADERS.items()
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token from `darkroom token create`. Not needed on the machine itself.",
                }
            },
        },
    }


def statuses_of(operation: Operation) -> list[int]:
    """Return the statuses of the problems that it may answer with."""
    takes_body = operation.body is not None or bool(operation.media)
    return sorted(
        {*_ALWAYS, *operation.problems}
        | ({404} if "{" in operation.path else set())
        | ({422} if takes_body or operation.query is not None else set())
        | ({413, 415} if takes_body else set())
        | ({409, 422} if operation.may_cost else set())
    )


def _webhook(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Describe how a subscriber receives an event, by Standard Webhooks 1.0."""
    headers = {
        "webhook-id": "The id of the event, the same for every try.",
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


class _Document:
    """The references and components that all operations share."""

    def __init__(self, references: Mapping[type[BaseModel], Any], components: Mapping[str, Any]) -> None:
        self._references = references
        self._components = components

    def operation(self, operation: Operation) -> dict[str, Any]:
        described: dict[str, Any] = {
            "operationId": operation.name,
            "tags": [operation.tag],
            "summary": operation.summary,
            **({"description": operation.description} if operation.description else {}),
            "parameters": list(self._parameters(operation)),
            "responses": {
                **{str(status): self._answer(operation, status, one) for status, one in operation.answers.items()},
                **{
                    str(status): {"$ref": f"#/components/responses/{_name_of(status)}"}
                    for status in statuses_of(operation)
                },
            },
        }
        if operation.scope is not None:
            described["x-scope"] = str(operation.scope)
        if operation.body is not None or operation.media:
            content: dict[str, Any] = {media: {"schema": {"type": "string"}} for media in operation.media}
            if operation.body is not None:
                content = {"application/json": self._content(operation.body), **content}
            is_required = operation.body is None or is_needed(operation.body)
            described["requestBody"] = {"required": is_required, "content": content}
        return described

    def _parameters(self, operation: Operation) -> Iterator[dict[str, Any]]:
        for name in re.findall(r"\{(\w+)\}", operation.path):
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "description": f"`{name}` of one of {operation.tag}.",
                "schema": {"type": "string", "minLength": 1},
            }
        if operation.query is not None:
            schema = untitled(operation.query.model_json_schema(ref_template=_REFERENCE))
            for name, property_ in schema["properties"].items():
                given = {"description": property_.pop("description")} if "description" in property_ else {}
                is_required = name in schema.get("required", ())
                yield {"name": name, "in": "query", "required": is_required, "schema": property_, **given}
            if "wait" in schema["properties"]:
                yield _PREFER
        if operation.may_cost:
            yield _IDEMPOTENCY_KEY

    def _answer(self, operation: Operation, status: int, answer: Answer) -> dict[str, Any]:
        names = ["X-Request-Id"]
        names += ["Location"] if status in {201, 202, 302} else []
        names += ["Preference-Applied"] if "wait" in getattr(operation.query, "model_fields", ()) else []
        names += ["Idempotent-Replayed"] if operation.may_cost and status < 300 else []
        described: dict[str, Any] = {"description": HTTP_STATUS_CODES[status], "headers": _headers(names)}
        if answer is None:
            return described
        if isinstance(answer, type):
            return described | {"content": {"application/json": self._content(answer)}}
        media = [answer] if isinstance(answer, str) else answer
        # JSON of no fixed shape, or text.
        shapes: dict[str, dict[str, str]] = {
            one: {} if one == "application/json" else {"type": "string"} for one in media
        }
        return described | {"content": {one: {"schema": shape} for one, shape in shapes.items()}}

    def _content(self, model: type[BaseModel]) -> dict[str, Any]:
        schema = self._references[model]
        return {"schema": schema, "example": example_of(schema, self._components)}


def _problem(status: int) -> dict[str, Any]:
    names = ["X-Request-Id", *(["Retry-After"] if status in {409, 429, 503} else [])]
    return {
        "description": HTTP_STATUS_CODES[status],
        "headers": _headers(names),
        "content": {MEDIA_TYPE: {"schema": {"$ref": _REFERENCE.format(model=Problem.__name__)}}},
    }


def _name_of(status: int) -> str:
    return HTTP_STATUS_CODES[status].title().replace(" ", "")


def _headers(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def untitled(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return it without the titles that pydantic derives from the names."""
    found: dict[str, Any] = {}
    for word, value in schema.items():
        if word in {"properties", "$defs"}:
            found[word] = {name: untitled(one) for name, one in value.items()}
        elif word != "title" and word not in {"default", "examples", "example", "const", "enum"}:
            found[word] = _untitled_inside(value)
        elif word != "title":
            found[word] = value
    return found


def _untitled_inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return untitled(value)
    return [_untitled_inside(one) for one in value] if isinstance(value, list) else value
