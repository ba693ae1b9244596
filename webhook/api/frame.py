"""What every answer of the private process has in common, for programs and people alike."""

import re
import secrets
from contextlib import ExitStack

from flask import Flask, Response, g, request

from webhook.bodies import read_rest
from worker.secrets import redact

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)


def framed() -> Flask:
    """Return an application without routes, whose answers have a request id and are never cached."""
    app = Flask("webhook", static_folder=None)
    # Each path has one spelling: a redirect is an HTML page, and loses POSTs.
    app.url_map.merge_slashes = False
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(lambda _: g.pop("place", ExitStack()).close())
    return app


def request_id() -> str:
    return str(g.get("request_id", ""))


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    # An id that looks like a secret must not be logged.
    is_usable = _REQUEST_ID.fullmatch(given) and redact(given) == given
    g.place = ExitStack()
    g.request_id = given if is_usable else f"req_{secrets.token_hex(12)}"


def _end(response: Response) -> Response:
    if "written" in g:
        g.written.answered(response)
    if response.status_code >= 400:
        read_rest(request.environ)
    response.headers.update(g.get("rate_headers", {}))
    response.headers["X-Request-Id"] = request_id()
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = response.headers.get("Cache-Control") or "no-store"
    return response
