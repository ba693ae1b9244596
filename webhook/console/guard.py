"""The one place that authenticates people, keeps viewers and other sites from writing, and restricts browsers."""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote, urlsplit

from flask import Blueprint, Request, Response, current_app, g, redirect, request
from werkzeug.exceptions import NotFound

from tasks.usecases.assets import bucket_origin
from webhook.console import acting
from webhook.console.csrf import require_token, serve_tokens
from webhook.console.desk import Desk
from webhook.console.entrance import LetIn, whoever_asks
from webhook.console.forms import read_form
from webhook.console.problems import Refusal
from webhook.loopback import objection
from webhook.same_site import is_foreign
from worker.services import Services

_View = TypeVar("_View", bound=Callable[..., object])

_READING = {"GET", "HEAD"}
#: for everybody: the login page needs its style, and people who lost access must be able to log out
_FILES, _LOGIN, _LOGOUT = "console.static_file", {"console.login_page", "console.log_in"}, "console.log_out"
#: pages below this have forms with much input
_ENTERED = "/submit"
_LOGGED_OUT = "you are logged out, so nothing was changed. Log in, then {}: what you entered is still there"
#: characters of a path segment: more than names and keys have
_LONGEST_NAME = 1000
#: bytes of a form, unless its view `takes` more
_LARGEST_FORM = 1024 * 1024
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{bucket}; media-src 'self'{bucket}; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def takes(number: int) -> Callable[[_View], _View]:
    """Mark a view whose form may have up to this number of bytes."""

    def mark(view: _View) -> _View:
        view.largest_form = number  # type: ignore[attr-defined]
        return view

    return mark


def guard(pages: Blueprint, desk: Desk) -> None:
    """Put the guard before all pages."""
    here = desk.here
    serve_tokens(pages, here.settings)

    @pages.before_request
    def let_in() -> Response | None:
        if request.endpoint == _FILES:
            return None
        if any(len(str(value)) > _LONGEST_NAME for value in (request.view_args or {}).values()):
            # Nothing has such a name, and no message should repeat it.
            raise NotFound
        is_write = request.method not in _READING
        if is_write and is_foreign(request, here.settings.console_url):
            raise Refusal("another website sent this: open the page here and send it again", status=403)
        view = current_app.view_functions[str(request.endpoint)]
        request.max_content_length = getattr(view, "largest_form", _LARGEST_FORM)
        g.person = whoever_asks(here, request)
        if request.endpoint in _LOGIN:
            return None
        if g.person is None:
            return _to_login(request)
        if is_write:
            _require_leave(g.person)
            read_form()
            require_token(here.settings)
            acting.begin(here, g.person.name)
        return None

    @pages.after_request
    def protect(response: Response) -> Response:
        acting.finish(here, response)
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = _POLICY.format(bucket=_bucket(here, response))
        return response


def _require_leave(person: LetIn) -> None:
    if not person.may_operate and request.endpoint != _LOGOUT:
        raise Refusal(
            "viewers can see everything but change nothing: ask an operator, or ask to become one (`darkroom user "
            "role`)",
            status=403,
        )


def _to_login(request: Request) -> Response:
    """Redirect to the login page, and back afterwards; requests that are not for a whole page are refused."""
    is_part, is_write = "HX-Request" in request.headers, request.method not in _READING
    is_page = "text/html" in request.headers.get("Accept", "")
    # A redirect away from a form would lose what was entered.
    if is_part and is_write and request.path.startswith(_ENTERED):
        raise Refusal(_LOGGED_OUT.format("continue here"), status=401)
    if is_part:
        raise _refusal({"HX-Redirect": _login_for(_page_of(request))})
    if is_page and is_write:
        raise Refusal(_LOGGED_OUT.format("go back and send it again"), status=401)
    if not is_page:
        raise _refusal({})
    path = request.full_path if request.query_string else request.path
    return redirect(_login_for(path), 303)  # type: ignore[return-value]


def _page_of(request: Request) -> str:
    """Return the page that the browser shows."""
    try:
        page = urlsplit(request.headers.get("HX-Current-URL", ""))
    except ValueError:
        return "/"
    return f"{page.path}?{page.query}" if page.query else page.path


def _refusal(headers: dict[str, str]) -> Refusal:
    why = objection(request) or "you are logged out"
    return Refusal(
        f"a login is required because {why}: log in at /login, then repeat this", status=401, headers=headers
    )


def _login_for(page: str) -> str:
    return "/login" if page in {"", "/"} else f"/login?next={quote(page, safe='/')}"


def _bucket(here: Services, response: Response) -> str:
    """Return the origin to which our image addresses redirect, for pages with images."""
    origin = bucket_origin(here) if response.mimetype == "text/html" and g.get("person") else None
    return f" {origin}" if origin else ""
