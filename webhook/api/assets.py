"""/v1/assets"""

from flask import Response

from tasks.usecases.assets import LINK_REUSE, AssetText, get_asset
from webhook.api.call import Call, Refused
from webhook.api.routes import Routes
from webhook.api.scopes import Scope

routes = Routes("assets")


@routes.get(
    "/assets/{generation}/{index}",
    scope=Scope.GENERATIONS_READ,
    answers={302: None, 200: "text/plain"},
    problems=(404, 409, 410, 422),
)
def download_asset(call: Call, generation: str, index: str) -> Response:
    """Download one result of a generation: `index` counts from 0.

    For an image or a video, the answer redirects to a link that works for an hour and is as secret as the token: follow
    it, and keep this address instead. A text is the answer itself. 409: not stored yet, with the reason; 410: deleted.
    """
    if not (index.isascii() and index.isdigit() and len(index) < 10):
        raise Refused(f"{index!r} is not an asset number: assets are numbered from 0", status=404, code="not_found")
    found = get_asset(call.here, generation, int(index))
    if isinstance(found, AssetText):
        return Response(found.text, content_type="text/plain; charset=utf-8")
    # Shorter than the link's life, so that a browser never follows an expired link.
    reuse = f"private, max-age={int(LINK_REUSE.total_seconds())}"
    return Response(status=302, headers={"Location": found.url, "Cache-Control": reuse})
