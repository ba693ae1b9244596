"""The private process as a WSGI application: the HTTP API, and the pages beside it."""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import NotFound

from tasks.usecases.approvals import find_approval
from tasks.usecases.clocks import broker_error
from tasks.usecases.sandbox import require_test_batch, require_test_generation
from tasks.usecases.tokens import Scope, allows
from webhook import health
from webhook.api import approvals, assets, batches, events, generations, metrics, providers, spend, uploads
from webhook.api.access import Access
from webhook.api.call import Call, Refused, Reply
from webhook.api.frame import framed, request_id
from webhook.api.pages import PagesBeside
from webhook.api.problems import problem_of
from webhook.api.reading import read_json, read_query, require_media, require_plain
from webhook.api.routes import Operation
from webhook.api.strict_json import unusable
from webhook.api.written import Written
from webhook.bodies import carrying_out
from webhook.shared import Shared
from worker.errors import ConfigurationError
from worker.secrets import configure_logging, redact
from worker.services import Services, secret_values
from worker.services import services as services_of_process

RESOURCES = (generations, batches, assets, events, providers, spend, uploads, approvals, metrics)
OPERATIONS = tuple(operation for resource in RESOURCES for operation in resource.routes.operations)

_DOCUMENT = Path(__file__).with_name("openapi.json")


def create_app(services: Services | None = None) -> Flask:
    """Build the private process. Raises ConfigurationError.

    Without `services`, build them from the environment, configure logging, and exit with one sentence if a setting is
    invalid.
    """
    if services is not None:
        return _build(services, Shared(services))
    try:
        services = services_of_process()
        settings = services.settings
        configure_logging(settings.log_level, secret_values(settings), settings.log_format)
        shared = Shared(services)
        shared.shutdown.listen()
        return _build(services, shared)
    except ConfigurationError as error:
        sys.exit(redact(f"the API cannot start: {error}"))


def _build(here: Services, shared: Shared) -> Flask:
    app = framed()
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_error_handler(Exception, lambda error: problem_of(error, request_id()))
    access = Access(here)
    for one in OPERATIONS:
        rule = re.sub(r"\{(\w+)\}", r"<\1>", one.path)
        view = _view(one, here, access, shared)
        # Preflights are not answered: pages of other sites get nothing.
        app.add_url_rule(rule, one.name, view, methods=[one.method], provide_automatic_options=False)
    app.add_url_rule("/v1/openapi.json", "openapi", _openapi, methods=["GET"], provide_automatic_options=False)
    app.register_blueprint(health.blueprint(health.api_dependencies(here, broker_error)))
    app.wsgi_app = PagesBeside(app, here, shared)  # type: ignore[method-assign]  # as Flask's documentation has it
    return app


def _openapi() -> Response:
    # Made by `make api-docs`: making it here would double the startup time, and take 8 MB.
    return Response(_DOCUMENT.read_bytes(), mimetype="application/json")


def _view(operation: Operation, here: Services, access: Access, shared: Shared) -> Callable[..., Response]:
    def view(**parts: str) -> Response:
        if any(map(unusable, parts.values())):
            raise NotFound
        is_scrape = operation.scope is Scope.METRICS_READ
        caller, g.rate_headers = access.identify(request, despite_outage=is_scrape)
        if operation.scope is not None and not allows(caller.scopes, operation.scope):
            raise Refused(
                f"this token lacks the scope {operation.scope}: create one with `darkroom token create NAME --scope "
                f"{operation.scope}`",
                status=403,
                code="scope_missing",
            )
        call = Call(
            here=here,
            shared=shared,
            caller=caller,
            request=request._get_current_object(),  # type: ignore[attr-defined]  # noqa: SLF001
            request_id=request_id(),
            idempotency_key=request.headers.get("Idempotency-Key"),
        )
        if caller.is_test and operation.method != "GET":
            _require_tests(here, operation.path, parts)
        models: dict[str, Any] = {}
        if operation.method != "GET":
            require_media(request, operation)
            require_plain(request)
        if operation.query is not None:
            models["query"] = read_query(request, operation.query)
        if operation.body is not None:
            is_other = request.mimetype in operation.media
            if not is_other:
                g.place.enter_context(carrying_out(request.environ))
            models["body"] = None if is_other else read_json(request, operation.body, operation.media)
        if operation.method != "GET" and not any(getattr(one, "dry_run", False) for one in models.values()):
            g.written = Written(call, operation, parts.get("id"))
        reply = operation.handle(call, **parts, **models)
        return reply.response() if isinstance(reply, Reply) else reply

    return view


def _require_tests(here: Services, path: str, parts: Mapping[str, str]) -> None:
    """Keep test tokens from changing anything that is paid for. Raises NotFound."""
    if (name := parts.get("id")) is not None:
        require = require_test_batch if path.startswith("/v1/batches/") else require_test_generation
        is_approval = path.startswith("/v1/approvals/")
        require(here.ledger, find_approval(here, name).generation_id if is_approval else name)
