"""A Flask receiver of Darkroom's events, which checks that they are genuine.

pip install flask standardwebhooks && DARKROOM_NOTIFY_SECRET=whsec_... flask run --port 9000
"""

import os

from flask import Flask, abort, request
from standardwebhooks import Webhook, WebhookVerificationError

app = Flask(__name__)
webhook = Webhook(os.environ["DARKROOM_NOTIFY_SECRET"])
seen: set[str] = set()  # a table in real life: an event may come twice, with the same id


@app.post("/events")
def events() -> tuple[str, int]:
    try:
        event = webhook.verify(request.get_data(), dict(request.headers))
    except WebhookVerificationError:
        abort(401)
    if request.headers["webhook-id"] not in seen:
        seen.add(request.headers["webhook-id"])
        app.logger.warning("%s %s", event["type"], event["data"].get("key"))
    return "", 204
