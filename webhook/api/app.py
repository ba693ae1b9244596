"""The private process as a WSGI application."""

import re
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Response, g, request

from tasks.usecases.sandbox import require_test_batch, require_test_generation
from webhook.api import generations
from webhook.api.access import identify
from webhook.api.call import Call, Refused, Reply
from webhook.api.openapi import document_of
from webhook.api.problems import problem_of
from webhook.api.reading import read_json, read_query
from webhook.api.routes import Operation
from worker.errors import ConfigurationError
from worker.secrets import configure_logging, redact
from worker.services import Services, secret_values
from worker.services import services as services_of_process

RESOURCES = (generations,)
OPERATIONS = tuple(operation for resource in RESOURCES for operation in resource.routes.operations)

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)


def create_app(services: Services | None = None) -> Flask:
    """Build the private process. Raises ConfigurationError.

    Without `services`, build them from the environment, configure logging, and exit with one sentence if a setting is
    invalid.
    """
    if services is not None:
        return _build(services)
    try:
        services = services_of_process()
        settings = services.settings
        configure_logging(settings.log_level, secret_values(settings), settings.log_format)
        return _build(services)
    except ConfigurationError as error:
        sys.exit(redact(f"the API cannot start: {error}"))


def _build(here: Services) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.before_request(_begin)
    app.after_request(_end)
    app.register_error_handler(Exception, lambda error: problem_of(error, _request_id()))
    for one in OPERATIONS:
        rule = re.sub(r"\{(\w+)\}", r"<\1>", one.path)
        app.add_url_rule(rule, one.name, _view(one, here), methods=[one.method])
    described = document_of(OPERATIONS)
    app.add_url_rule("/v1/openapi.json", "openapi", lambda: described)
    return app


def _view(operation: Operation, here: Services) -> Callable[..., Response]:
    def view(**parts: str) -> Response:
        caller = identify(request, here)
        if operation.scope is not None and not _allows(caller.scopes, operation.scope):
            raise Refused(
                f"this token lacks the scope {operation.scope}: create one with `darkroom token create NAME --scope "
                f"{operation.scope}`",
                status=403,
                code="scope_missing",
            )
        call = Call(
            here=here,
            caller=caller,
            request=request._get_current_object(),  # type: ignore[attr-defined]  # noqa: SLF001
            request_id=_request_id(),
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        if caller.is_test and operation.method != "GET":
            _require_tests(here, operation.path, parts)
        models: dict[str, Any] = {}
        if operation.query is not None:
            models["query"] = read_query(request, operation.query)
        if operation.body is not None:
            models["body"] = read_json(request, operation.body)
        reply = operation.handle(call, **parts, **models)
        return reply.response() if isinstance(reply, Reply) else reply

    return view


def _require_tests(here: Services, path: str, parts: Mapping[str, str]) -> None:
    """A token for tests changes nothing that is paid for. Raises NotFound."""
    if (name := parts.get("id")) is not None:
        require = require_test_batch if path.startswith("/v1/batches/") else require_test_generation
        require(here.ledger, name)


def _allows(scopes: frozenset[str], wanted: str) -> bool:
    return bool(scopes & {"*", wanted, f"{wanted.partition(':')[0]}:*"})


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = _request_id()
    response.headers["Cache-Control"] = response.headers.get("Cache-Control") or "no-store"
    return response


def _request_id() -> str:
    return str(g.get("request_id", ""))
