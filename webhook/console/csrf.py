"""The CSRF token that our forms and scripts send; pages of other sites cannot read it.

The token is a signature whose key is a cookie: the session's, or without a session, a cookie for this purpose alone.
So nothing is stored, and pages stay valid when this process restarts.
"""

import hmac
import re
import secrets

from flask import Blueprint, Response, g, request

from webhook.console.cookies import forms_cookie, session_cookie, set_forms_cookie
from webhook.console.entrance import LetIn, Way
from webhook.console.problems import Refusal
from worker.settings import Settings

_FIELD, _HEADER = "csrf", "X-CSRF"
_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


def serve_tokens(pages: Blueprint, settings: Settings) -> None:
    """Give templates `csrf_token()`, and set a cookie with each page that uses it."""
    pages.app_template_global("csrf_token")(lambda: _token(_key_for_page(settings)))

    @pages.after_request
    def give_cookie(response: Response) -> Response:
        if g.get("csrf_is_new"):
            set_forms_cookie(response, request, settings, g.csrf_key)
        return response


def require_token(settings: Settings) -> None:
    """Raise Refusal (403) unless the request has the token, in its header or in a field of its form."""
    given = request.headers.get(_HEADER) or request.form.get(_FIELD, "")
    key = _kept_key(settings)
    if key is None or not hmac.compare_digest(given.encode(), _token(key).encode()):
        raise Refusal(
            "nothing was changed: you logged in or out after opening this page, or your browser keeps no cookies for "
            "this address; go back and send it again: what you entered is still there",
            status=403,
        )


def _key_for_page(settings: Settings) -> str:
    if "csrf_key" not in g:
        kept = _kept_key(settings)
        g.csrf_is_new = kept is None
        g.csrf_key = kept or secrets.token_urlsafe(32)
    return str(g.csrf_key)


def _kept_key(settings: Settings) -> str | None:
    person = _person()
    is_session = person is not None and person.way is Way.PASSWORD
    key = (session_cookie if is_session else forms_cookie)(request, settings)
    return key if _COOKIE.fullmatch(key) else None


def _token(key: str) -> str:
    # With the name: the same browser may log in as another person, who has not seen these forms.
    person = _person()
    who = "stranger" if person is None else f"{person.way}:{person.name}"
    return hmac.digest(key.encode(), f"form of {who}".encode(), "sha256").hex()


def _person() -> LetIn | None:
    found: LetIn | None = g.get("person")
    return found
