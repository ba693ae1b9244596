"""The two cookies: the session of a logged-in user, and the key for everybody else's forms."""

from flask import Request, Response

from webhook.loopback import objection
from worker.settings import Settings

_SESSION, _FORMS = "darkroom", "darkroom-forms"
#: with https: browsers accept a cookie with this prefix only from this exact host, and only over https
_LOCKED = "__Host-"


def session_cookie(request: Request, settings: Settings) -> str:
    """Return the session cookie; empty without one."""
    return request.cookies.get(_name(_SESSION, request, settings), "")


def set_session_cookie(response: Response, request: Request, settings: Settings, value: str, seconds: int) -> None:
    """Log this browser in, or out if `value` is empty."""
    _set(response, _SESSION, request, settings, value, max_age=seconds if value else 0)


def forms_cookie(request: Request, settings: Settings) -> str:
    return request.cookies.get(_name(_FORMS, request, settings), "")


def set_forms_cookie(response: Response, request: Request, settings: Settings, value: str) -> None:
    _set(response, _FORMS, request, settings, value, max_age=None)


def _set(
    response: Response, name: str, request: Request, settings: Settings, value: str, *, max_age: int | None
) -> None:
    response.set_cookie(
        _name(name, request, settings),
        value,
        max_age=max_age,
        path="/",
        secure=_is_https(request, settings),
        httponly=True,
        # Not strict, so that people who follow a link from another site stay logged in. Such a link changes nothing.
        samesite="Lax",
    )


def _name(name: str, request: Request, settings: Settings) -> str:
    return f"{_LOCKED}{name}" if _is_https(request, settings) else name


def _is_https(request: Request, settings: Settings) -> bool:
    """Return whether the browser used https: the proxy in front of us speaks http to us."""
    if request.is_secure or request.headers.get("X-Forwarded-Proto", "").partition(",")[0].strip().lower() == "https":
        return True
    is_promised = (settings.console_url or "").startswith("https://")
    return is_promised and objection(request) is not None
