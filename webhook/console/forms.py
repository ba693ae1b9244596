"""What every form of the console has: its sender, and an idempotency key."""

import hashlib
import json
import re

from flask import g, request

from tasks.usecases.once import Once, once_for
from tasks.usecases.person import Person, person
from webhook.bodies import reading
from webhook.console.problems import Refusal

_ONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
#: bytes of all fields without files
_LARGEST_FIELDS = 4 * 1024 * 1024
#: files and fields
_MOST_PARTS = 2000
_LONGEST_NOTE = 2000
#: in every form, but not part of the request
_ENVELOPE = frozenset({"once", "csrf"})


def form_key() -> str | None:
    """Return the idempotency key of this form; None for a form without one."""
    key = request.form.get("once", "")
    return key if _ONCE.fullmatch(key) else None


def fields_asked() -> list[tuple[str, str]]:
    """Return all fields but the key and the CSRF token: if any of them differs, it is another request."""
    return sorted(one for one in request.form.items(multi=True) if one[0] not in _ENVELOPE)


def owner() -> str:
    """Return the owner of the key."""
    return f"console:{g.person.name}"


def once_of(asked: object) -> Once:
    """Return the identity of this form: its key, and what it requests.

    Sent again unchanged, it is not carried out again; after going back and changing it, it is another request. Raises
    Refusal for a form without a key.
    """
    key = form_key()
    if key is None:
        raise Refusal("the form is incomplete: reload the page and send it again", status=400)
    what = [request.path, asked]
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return once_for(owner(), f"{key}.{digest[:32]}", what)


def whole(text: str, digits: int) -> int | None:
    """Return the number in this text; None for anything else, and for a number with more digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= digits else None


def author() -> str:
    """Return who creates something, for its history."""
    return f"{g.person.name} (console)"


def decider(why: str = "") -> Person:
    """Return who decides something, with the reason given."""
    return person(g.person.name, why[:_LONGEST_NOTE])


def read_form() -> None:
    """Read the form with its files. Raises Busy if too many are arriving at the moment."""
    request.max_form_memory_size = _LARGEST_FIELDS
    request.max_form_parts = _MOST_PARTS
    with reading(request.environ):
        request.form  # noqa: B018  reading it parses it
