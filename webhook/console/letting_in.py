"""Log in and out."""

from urllib.parse import urlsplit

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from tasks.usecases.users import SESSION_LIFE, list_users, log_in, log_out, normal_name, role_of
from webhook.console import acting
from webhook.console.cookies import session_cookie, set_session_cookie
from webhook.console.csrf import require_token
from webhook.console.desk import Desk
from webhook.console.entrance import address_of
from webhook.console.guard import takes
from webhook.console.tries import Tries
from webhook.loopback import is_loopback, objection
from worker.services import Services

_LARGEST_FORM = 16 * 1024
_LONGEST_NAME = 100


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add `/login` and `/logout`."""
    here, tries = desk.here, Tries()

    @pages.get("/login", endpoint="login_page", provide_automatic_options=False)
    def login_page() -> Response:
        target = own_path(request.args.get("next", ""))
        return _page(here, target) if g.person is None else _to(target)

    @pages.post("/login", endpoint="log_in", provide_automatic_options=False)
    @takes(_LARGEST_FORM)
    def enter() -> Response:
        address = address_of(request, here.settings)
        if wait := tries.wait_at(address):
            return _too_many(here, wait, "/")
        with tries.one_more(address):
            require_token(here.settings)
            target = own_path(request.form.get("next", ""))
            return _log_in(here, tries, address, target) if g.person is None else _to(target)

    @pages.post("/logout", endpoint="log_out", provide_automatic_options=False)
    def leave() -> Response:
        log_out(here, session_cookie(request, here.settings))
        response = _to("/login")
        set_session_cookie(response, request, here.settings, "", 0)
        return response


def _log_in(here: Services, tries: Tries, address: str, target: str) -> Response:
    name, password = normal_name(request.form.get("name", "")), request.form.get("password", "")
    if wait := tries.wait_for(name):
        return _too_many(here, wait, target, name)
    logged_in = log_in(here, name, password)
    if logged_in is None:
        tries.count(name, address)
        # Never an unknown name, because some people type their password there.
        actor = name if role_of(here, name) else "nobody"
        acting.note(here, actor, "POST /login", 401, address)
        return _page(here, target, 401, "Wrong name or password.", name)
    tries.forget(name)
    acting.note(here, logged_in.name, "POST /login", 303, address)
    response = _to(target)
    set_session_cookie(response, request, here.settings, logged_in.cookie, int(SESSION_LIFE.total_seconds()))
    return response


def _too_many(here: Services, wait: int, target: str, name: str = "") -> Response:
    response = _page(here, target, 429, f"Too many wrong passwords. Try again {_in_words(wait)}.", name)
    response.headers["Retry-After"] = str(wait)
    return response


def _page(here: Services, target: str, status: int = 200, told: str = "", name: str = "") -> Response:
    why = objection(request) if is_loopback(address_of(request, here.settings)) else None
    text = render_template(
        "console/login.html",
        target=target,
        told=told,
        name=name[:_LONGEST_NAME],
        has_users=bool(list_users(here)),
        why=why,
    )
    return make_response(text, status)


def own_path(given: str) -> str:
    """Return a path on this site; `/` for anything that a browser could read as another host."""
    try:
        parts = urlsplit(given)
    except ValueError:
        return "/"
    # Browsers skip tabs and line breaks, and read a backslash as a slash.
    is_odd = not given.isprintable() or "\\" in given or " " in given
    is_own = given.startswith("/") and not given.startswith("//") and not parts.scheme and not parts.netloc
    return given if is_own and not is_odd and parts.path not in {"/login", "/logout"} else "/"


def _to(target: str) -> Response:
    return redirect(target, 303)  # type: ignore[return-value]


def _in_words(seconds: int) -> str:
    return f"in {seconds} seconds" if seconds < 90 else f"in {-(-seconds // 60)} minutes"
