"""/metrics"""

from flask import Response

from webhook.api.call import Call
from webhook.api.routes import Routes
from webhook.api.scopes import Scope

routes = Routes("metrics", prefix="")


@routes.get("/metrics", scope=Scope.METRICS_READ, answers={200: ("text/plain", "application/openmetrics-text")})
def get_metrics(call: Call) -> Response:
    """Get the metrics, for Prometheus.

    As text, or as OpenMetrics if `Accept` asks for it. What cannot be read now is omitted, and `darkroom_part_up` is 0
    for its part. `deploy/METRICS.md` lists all families.
    """
    # Imported at the first scrape: the library takes memory.
    from webhook.api.exposition import exposed  # noqa: PLC0415

    text, content_type = exposed(call.shared.scrapes.read, call.request.headers.get("Accept", ""))
    return Response(text, content_type=content_type)
