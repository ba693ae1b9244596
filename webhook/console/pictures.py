"""The bytes of images: our own addresses, which stay valid, redirect to presigned links, which do not."""

from flask import Blueprint, Response, request

from tasks.usecases.assets import LINK_REUSE, AssetText, get_asset
from tasks.usecases.thumbnails import ask_again, ask_for, find_thumbnail
from webhook.console.desk import Desk

#: seconds after which to request again a thumbnail that is being made
_AGAIN = 2


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add `/originals/…` and `/thumbs/…`."""

    @pages.get("/originals/<generation>/<int:index>", provide_automatic_options=False)
    def original(generation: str, index: int) -> Response:
        found = get_asset(desk.here, generation, index)
        if isinstance(found, AssetText):
            return Response(found.text, content_type="text/plain; charset=utf-8")
        return moved(found.url)

    @pages.get("/thumbs/<generation>/<int:index>", provide_automatic_options=False)
    def thumbnail(generation: str, index: int) -> Response:
        found = find_thumbnail(desk.here, generation, index)
        if found.url is None:
            wakes = ask_for(desk.here, [found.shown.asset])
        elif "try" not in request.args or not (wakes := ask_again(desk.here, found)):
            return moved(found.url)
        if wakes:
            desk.shared.ring(*wakes)
        # No body: the request is for an image, whose script retries.
        return Response(status=404, headers={"Retry-After": str(_AGAIN)})


def moved(link: str) -> Response:
    """Redirect to a presigned link."""
    # Shorter than the link's life, so that a browser never follows an expired link.
    reuse = f"private, max-age={int(LINK_REUSE.total_seconds())}"
    return Response(status=302, headers={"Location": link, "Cache-Control": reuse})
