"""The least that Flask can do with a POST, served exactly as the receiver is (`python -m tests.bench.null_app`)."""

from flask import Flask

import webhook.app
from webhook.__main__ import main


def create_app() -> Flask:
    app = Flask(__name__, static_folder=None)
    app.add_url_rule("/null", "null", lambda: "", methods=["POST"])
    return app


if __name__ == "__main__":
    # The server finds it under the receiver's name.
    webhook.app.create_app = create_app  # type: ignore[assignment]
    main()
