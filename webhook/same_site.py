"""Refuses what a page of another site sends."""

from urllib.parse import urlsplit

from flask import Request


def is_foreign(request: Request, console_url: str | None) -> bool:
    """Return whether a browser says that the request comes from a page that is not ours.

    `console_url`: our address behind a proxy, which may have replaced Host.
    """
    if (site := request.headers.get("Sec-Fetch-Site")) is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    # What pages under a secret address send in older browsers, too, because they hide it from whoever they link to.
    if origin in {None, "null"}:
        return False
    ours = {request.host.lower(), urlsplit(console_url or "").netloc.lower()}
    try:
        return urlsplit(str(origin)).netloc.lower() not in ours - {""}
    except ValueError:
        return True
