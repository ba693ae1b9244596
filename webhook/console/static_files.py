"""Styles and scripts, including two of htmx: read once, and named by their content, so that browsers cache them."""

import mimetypes
from functools import cache
from hashlib import sha256
from pathlib import Path

from flask import Blueprint, Response
from werkzeug.exceptions import NotFound

_FOLDER = Path(__file__).parent / "static"
_FOREVER = "public, max-age=31536000, immutable"
#: for an address whose content has changed since: it is served, but not cached
_BRIEFLY = "no-cache"


def routes(pages: Blueprint) -> None:
    """Serve the files, and give templates their addresses: `static('console.css')`."""
    pages.add_url_rule("/static/<mark>/<name>", "static_file", _serve, methods=["GET"], provide_automatic_options=False)
    pages.app_template_global("static")(address_of)


def address_of(name: str) -> str:
    """Return the address of a file; raises KeyError for one that does not exist."""
    return f"/static/{_files()[name][0]}/{name}"


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    read = {path.name: path.read_bytes() for path in sorted(_FOLDER.iterdir())}
    # One hash for all: scripts import each other by relative addresses.
    mark = sha256(b"\0".join(read.values())).hexdigest()[:12]
    return {name: (mark, content) for name, content in read.items()}


def _serve(mark: str, name: str) -> Response:
    found = _files().get(name)
    if found is None:
        raise NotFound
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    response = Response(found[1], content_type=kind if kind.startswith("image/") else f"{kind}; charset=utf-8")
    response.headers["Cache-Control"] = _FOREVER if mark == found[0] else _BRIEFLY
    return response
