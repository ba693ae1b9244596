"""The receiver as a WSGI application (`granian --interface wsgi --factory webhook.app:create_app`)."""

import sys
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask
from werkzeug.exceptions import RequestURITooLarge
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from tasks.usecases.clocks import broker_error
from webhook import health
from webhook.answers import Answers, Heartbeat
from webhook.callbacks import Callbacks
from webhook.errors import answer
from webhook.group_commit import GroupCommit
from webhook.waker import Waker
from worker.errors import ConfigurationError
from worker.secrets import configure_logging, redact
from worker.services import Services, secret_values
from worker.services import services as services_of_process
from worker.steps import Step
from worker.wakeup import ring

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: characters; a callback's path has at most 145
LONGEST_PATH = 400


def create_app(services: Services | None = None) -> Flask:
    """Build the receiver. Raises ConfigurationError.

    Without `services`, build them from the environment, configure logging, and exit with one sentence if a setting is
    invalid.
    """
    if services is not None:
        return _build(services, Answers())
    try:
        services = services_of_process()
        settings = services.settings
        configure_logging(settings.log_level, secret_values(settings), settings.log_format)
        answers = Answers()
        app = _build(services, answers)
        Heartbeat(services.ledger, answers).start()
    except ConfigurationError as error:
        sys.exit(redact(f"the receiver cannot start: {error}"))
    return app


def _build(services: Services, answers: Answers) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.register_error_handler(Exception, answer)
    waker = Waker(partial(ring, Step.INGEST))
    # A closed ledger opens new connections when it is used again.
    group = GroupCommit(services.ledger.callbacks.store, services.ledger.close)
    asked = health.dependencies(services.ledger, services.clock, broker_error, group)
    app.register_blueprint(health.blueprint(asked))
    callbacks = Callbacks(services.signer, services.clock, group.keep, waker.request, answers.note)
    mounted = DispatcherMiddleware(app.wsgi_app, {"/callbacks": callbacks})
    app.wsgi_app = _ShortPaths(mounted)  # type: ignore[method-assign]
    return app


class _ShortPaths:
    """Refuses paths longer than LONGEST_PATH: the time to find a mount is quadratic in the number of slashes."""

    def __init__(self, inner: "WSGIApplication") -> None:
        self._inner = inner

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if len(environ["PATH_INFO"]) > LONGEST_PATH:
            return answer(RequestURITooLarge())(environ, start_response)
        return self._inner(environ, start_response)
