"""The sandbox as a WSGI application: one dialect per provider, their files, and its own pages."""

from typing import Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from webhook.sandbox.acedata import AceData
from webhook.sandbox.control import Control
from webhook.sandbox.dialect import Dialect
from webhook.sandbox.downloads import Downloads
from webhook.sandbox.engine import Engine
from webhook.sandbox.kie import Kie
from webhook.sandbox.mjproxy import MjProxy
from webhook.sandbox.ohmygpt import OhMyGpt

DIALECTS: tuple[type[Dialect[Any]], ...] = (AceData, Kie, OhMyGpt, MjProxy)
#: the folders of the dialects' files
FOLDERS = ("/attachments", "/cdn", "/video", "/v", "/storage", "/mj/image")


def create_app(engine: Engine) -> Flask:
    app = Flask(__name__, static_folder=None)
    # The documented order of the fields is easier to compare by eye.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.before_request(engine.keys.look)
    dialects = [dialect(engine) for dialect in DIALECTS]
    for dialect in dialects:
        app.register_blueprint(dialect.blueprint)
    app.register_blueprint(Downloads(engine, FOLDERS).blueprint)
    app.register_blueprint(Control(engine).blueprint())

    def http_error(error: HTTPException) -> Response:
        asked = [dialect for dialect in dialects if request.path.startswith(dialect.prefix)]
        if asked:
            dialect = max(asked, key=lambda one: len(one.prefix))
            return dialect.error(dialect.http_error(error))
        answer = jsonify({"error": error.description})
        answer.status_code = error.code or 500
        return answer

    app.register_error_handler(HTTPException, http_error)
    return app
