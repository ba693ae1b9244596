"""What every form of the console says: who sends it, and a key by which it is carried out once."""

import hashlib
import json
import re

from flask import g, request

from tasks.usecases.once import Once, once_for
from webhook.bodies import reading
from webhook.console.problems import Refusal

_ONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
#: bytes of all fields without files
_LARGEST_FIELDS = 4 * 1024 * 1024
#: files and fields
_MOST_PARTS = 2000


def once_of(asked: object) -> Once:
    """Return what this form is known by: its key, and what it asks for.

    Sent again as it was, it is carried out once; whoever goes back and changes it asks for something else. Raises
    Refusal for a form without a key.
    """
    key = request.form.get("once", "")
    if not _ONCE.fullmatch(key):
        raise Refusal("the form is not complete: reload the page, and send it again", status=400)
    what = [request.path, asked]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return once_for(f"console:{g.person.name}", f"{key}.{digest[:32]}", what)


def author() -> str:
    """Return who creates something, for its history."""
    return f"{g.person.name} (console)"


def read_form() -> None:
    """Read the form with its files. Raises Busy where too many arrive at this moment."""
    request.max_form_memory_size = _LARGEST_FIELDS
    request.max_form_parts = _MOST_PARTS
    with reading(request.environ):
        request.form  # noqa: B018  reading it parses it
