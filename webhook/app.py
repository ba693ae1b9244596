"""The receiver as a WSGI application (`granian --interface wsgi --factory webhook.app:create_app`)."""

import sys

from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from webhook import health
from webhook.bell import Bell
from webhook.callbacks import Callbacks
from webhook.committing import GroupCommit
from webhook.errors import answer
from worker.clocks import broker_error
from worker.errors import ConfigurationError
from worker.redaction import configure_logging
from worker.services import Services, secret_values
from worker.services import services as services_of_process


def create_app(services: Services | None = None) -> Flask:
    """Build the receiver. Raises ConfigurationError.

    Without `services` they come from the environment, logging is configured, and a wrong setting ends the process with
    its sentence alone.
    """
    if services is not None:
        return _build(services)
    try:
        services = services_of_process()
        configure_logging(services.settings.log_level, secret_values(services.settings))
        return _build(services)
    except ConfigurationError as error:
        sys.exit(f"the receiver cannot start: {error}")


def _build(services: Services) -> Flask:
    # Not above: the Celery application reads the settings when it is imported, and a wrong one must become a sentence.
    from worker.bells import ring  # noqa: PLC0415

    app = Flask(__name__, static_folder=None)
    app.register_error_handler(Exception, answer)
    app.register_blueprint(health.blueprint(health.dependencies(services.ledger, services.clock, broker_error)))

    bell = Bell(lambda: ring("ingest"))
    # A ledger that was closed opens new connections when it is used again.
    group = GroupCommit(services.ledger.inbox.store, services.ledger.close)
    callbacks = Callbacks(services.signer, services.clock, group.keep, bell.press)
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/callbacks": callbacks})  # type: ignore[method-assign]
    return app
