"""Reads a request's body to its end, up to a limit."""

from typing import TYPE_CHECKING

from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.wsgi import get_content_length

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def read_body(environ: "WSGIEnvironment", largest: int) -> bytes:
    """Raises RequestEntityTooLarge, and ClientDisconnected for a body that is not complete."""
    length = get_content_length(environ)  # None when it is sent in chunks
    if length is not None and length > largest:
        raise RequestEntityTooLarge
    body: bytes = environ["wsgi.input"].read(largest + 1 if length is None else length)
    if len(body) > largest:
        raise RequestEntityTooLarge
    if length is not None and len(body) < length:
        # If the sender hangs up, granian passes on what came before, without an error.
        raise ClientDisconnected
    return body
