"""Each form is carried out once, however often it is sent, and leads to a page that says what was done."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import quote, unquote

from flask import Blueprint, Response, g, request

from tasks.usecases.once import once_for
from tasks.usecases.once_only import carry_out
from tasks.usecases.person import Person, person
from webhook.console.desk import Desk
from webhook.console.problems import Refusal
from worker.secrets import secrets_hidden

#: what was done, told on the next page; seconds for which it waits for that
_TOLD, _WAITS = "told", 30
_KEY = re.compile(r"[\w.-]{16,100}", re.ASCII)
#: in every form, and no part of what is asked
_ENVELOPE = {"once", "csrf"}
_LONGEST_TOLD, _LONGEST_NOTE = 1000, 2000


def telling(pages: Blueprint) -> None:
    """Let templates say what was just done: `what_was_done()`."""
    pages.app_template_global("what_was_done")(_what_was_done)

    @pages.after_request
    def forget(response: Response) -> Response:
        if g.get("has_told"):
            response.delete_cookie(_TOLD)
        return response


def once(desk: Desk, work: Callable[[], tuple[str, str]]) -> Response:
    """Carry out `work` once for the key of the form; it returns where to go, and what was done there.

    A form that is sent again leads to the same page and does nothing more. Raises what `work` raises; the form can then
    be sent again.
    """
    key = request.form.get("once", "")
    if not _KEY.fullmatch(key):
        raise Refusal("this form is not complete: go back, reload the page, and try again", status=400)
    asked = sorted(one for one in request.form.items(multi=True) if one[0] not in _ENVELOPE)

    def document(_: datetime) -> Mapping[str, str]:
        address, told = work()
        return {"address": address, "told": told}

    mine = once_for(f"console:{g.person.name}", key, [request.path, asked])
    done = carry_out(desk.here, mine, document).document
    response = Response(status=303, headers={"Location": done["address"]})
    if done["told"]:
        told = quote(str(secrets_hidden(done["told"]))[:_LONGEST_TOLD])
        response.set_cookie(_TOLD, told, max_age=_WAITS, httponly=True, samesite="Strict", secure=request.is_secure)
    return response


def whoever_asks(why: str = "") -> Person:
    """Return who is let in, with the reason that they give."""
    return person(g.person.name, why[:_LONGEST_NOTE])


def _what_was_done() -> str:
    if _TOLD not in request.cookies:
        return ""
    g.has_told = True
    return unquote(request.cookies[_TOLD])[:_LONGEST_TOLD]
