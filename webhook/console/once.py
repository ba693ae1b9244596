"""Carries out each form once, however often it is sent, then redirects to a page that says what was done."""

from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import quote, unquote

from flask import Blueprint, Response, g, request

from tasks.usecases.once import Once, once_for
from tasks.usecases.once_only import carry_out
from webhook.console.desk import Desk
from webhook.console.forms import fields_asked, form_key, owner
from webhook.console.problems import Refusal
from webhook.console.wording import SENT_BEFORE
from worker.secrets import secrets_hidden

#: the cookie with what was done, shown on the next page; seconds for which it is kept
_TOLD, _WAITS = "told", 30
_LONGEST_TOLD = 1000


def telling(pages: Blueprint) -> None:
    """Give templates `what_was_done()`."""
    pages.app_template_global("what_was_done")(_what_was_done)

    @pages.after_request
    def forget(response: Response) -> Response:
        if g.get("has_told"):
            response.delete_cookie(_TOLD)
        return response


def once(desk: Desk, work: Callable[[], tuple[str, str]]) -> Response:
    """Carry out `work` once for the key of the form; it returns where to redirect, and what to say there.

    A form that is sent again redirects to the same page and does nothing more. Raises what `work` raises; the form can
    then be sent again.
    """
    mine = of_this_form()

    def document(_: datetime) -> Mapping[str, str]:
        address, told = work()
        return {"address": address, "told": told}

    answered = carry_out(desk.here, mine, document)
    done = answered.document
    response = Response(status=303, headers={"Location": done["address"]})
    if done["told"]:
        told = f"{done['told']} {SENT_BEFORE}" if answered.may_be_more else done["told"]
        told = quote(str(secrets_hidden(told))[:_LONGEST_TOLD])
        response.set_cookie(_TOLD, told, max_age=_WAITS, httponly=True, samesite="Strict", secure=request.is_secure)
    return response


def of_this_form() -> Once:
    """Return the identity of this form. Raises Refusal for a form without a key."""
    key = form_key()
    if key is None:
        raise Refusal("this form is incomplete: go back, reload the page and try again", status=400)
    return once_for(owner(), key, [request.path, fields_asked()])


def _what_was_done() -> str:
    if _TOLD not in request.cookies:
        return ""
    g.has_told = True
    return unquote(request.cookies[_TOLD])[:_LONGEST_TOLD]
