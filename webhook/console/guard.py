"""Who is let in, and what browsers may do with the pages."""

from typing import Literal, NamedTuple

from flask import Blueprint, Response, g, request

from webhook.console.desk import Desk
from webhook.console.problems import Refusal
from webhook.loopback import objection

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
}


class LetIn(NamedTuple):
    """Who looks at the pages."""

    name: str
    role: Literal["viewer", "operator"]

    @property
    def may_operate(self) -> bool:
        return self.role == "operator"


def guard(pages: Blueprint, desk: Desk) -> None:  # noqa: ARG001
    """Let in whoever uses this machine."""

    @pages.before_request
    def identify() -> None:
        if why := objection(request):
            raise Refusal(f"a login is required, because {why}", status=401)
        g.person = LetIn("local", "operator")

    @pages.after_request
    def protect(response: Response) -> Response:
        response.headers.update(_HEADERS)
        return response
