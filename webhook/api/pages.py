"""The pages of the private process. They are built when the first is opened: until then it needs 4 MB less."""

import threading
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from flask import Flask, request
from werkzeug.wrappers import Response

from webhook.api.frame import framed, request_id
from webhook.api.problems import problem_of
from webhook.shared import Shared
from worker.services import Services

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class PagesBeside:
    """A WSGI application: the API if one of its routes begins like the path, otherwise the pages."""

    def __init__(self, api: Flask, here: Services, shared: Shared) -> None:
        self._api = api.wsgi_app
        self._of_api = {rule.rule.split("/")[1] for rule in api.url_map.iter_rules()}
        self._here = here
        self._shared = shared
        self._lock = threading.Lock()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        first = environ["PATH_INFO"].removeprefix("/").partition("/")[0]
        return (self._api if first in self._of_api else self.built().wsgi_app)(environ, start_response)

    def built(self) -> Flask:
        """Return the pages."""
        with self._lock:
            return self._pages

    @cached_property
    def _pages(self) -> Flask:
        from webhook.approvals import approval_pages  # noqa: PLC0415  not until a page is opened
        from webhook.console import console, problem_page  # noqa: PLC0415

        def problem(error: Exception) -> Response:
            # Of two types with equal preference, as under */*, the first is returned.
            kinds = ("application/problem+json", "text/html")
            is_page = request.accept_mimetypes.best_match(kinds) == kinds[1]
            return problem_page(error, request_id()) if is_page else problem_of(error, request_id())

        app = framed()
        app.register_error_handler(Exception, problem)
        app.register_blueprint(console(self._here, self._shared))
        app.register_blueprint(approval_pages(self._here, self._shared.ring))
        return app
