"""The sandbox as a WSGI application: one dialect per provider, their pictures, and its own pages."""

import uuid

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException

from webhook.sandbox.acedata.routes import Routes as AceDataRoutes
from webhook.sandbox.control import Control
from webhook.sandbox.downloads import Downloads
from webhook.sandbox.studio import Studio


def create_app(studio: Studio) -> Flask:
    app = Flask(__name__, static_folder=None)
    # The documented order of the fields is easier to compare by eye.
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.register_blueprint(AceDataRoutes(studio).blueprint())
    app.register_blueprint(Downloads(studio).blueprint())
    app.register_blueprint(Control(studio).blueprint())
    app.register_error_handler(HTTPException, _http_error)
    return app


def _http_error(error: HTTPException) -> Response:
    code = "no_api" if error.code == 404 else "api_error" if (error.code or 500) >= 500 else "bad_request"
    answer = jsonify({"error": {"code": code, "message": error.description}, "trace_id": str(uuid.uuid4())})
    answer.status_code = error.code or 500
    return answer
