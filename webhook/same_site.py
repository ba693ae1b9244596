"""Detects requests from pages of other sites."""

from urllib.parse import urlsplit

from flask import Request


def is_foreign(request: Request, console_url: str | None) -> bool:
    """Return whether a browser says that the request comes from a page that is not ours.

    `console_url`: our address behind a proxy, which may have replaced Host.
    """
    if (site := request.headers.get("Sec-Fetch-Site")) is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("Origin")
    # Pages at a secret address send this as well in older browsers, because they hide their address from other sites.
    if origin in {None, "null"}:
        return False
    ours = {request.host.lower(), urlsplit(console_url or "").netloc.lower()}
    try:
        return urlsplit(str(origin)).netloc.lower() not in ours - {""}
    except ValueError:
        return True
