"""The pages: GET and HEAD show the approval, and only POST decides, because mail scanners follow every link."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from flask import Blueprint, Response, g, render_template, request
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge
from werkzeug.http import HTTP_STATUS_CODES

from tasks.usecases import action_log
from tasks.usecases import approvals as usecase
from tasks.usecases.action_log import NewAction
from tasks.usecases.approval_page import image_of, page_of
from tasks.usecases.person import Person, person
from webhook.deciding import decide, state_now
from webhook.same_site import is_foreign
from worker.errors import (
    AlreadyDecided,
    ArchiveError,
    CommitUnknown,
    ConfigurationError,
    LedgerUnavailable,
    RequestInvalid,
)
from worker.errors import NotFound as NoSuchRow
from worker.secrets import redact
from worker.services import Services

log = logging.getLogger(__name__)

#: bytes of a form, and characters of what people may type
_LARGEST_FORM = 64 * 1024
_LONGEST_NAME, _LONGEST_NOTE = 100, 2000
#: image types that browsers show; others are downloads
_SHOWN = {"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif"}
_HEADERS = {
    # The address of the page is a secret.
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}

Ring = Callable[..., None]


def approval_pages(here: Services, ring: Ring) -> Blueprint:
    """Build the routes; `ring` wakes the steps that have work after a decision."""
    pages = Blueprint("approval_pages", __name__, template_folder="templates", url_prefix="/approvals")
    pages.after_request(_guard)
    pages.register_error_handler(Exception, _problem)
    views = _Views(here, ring)
    style = (Path(__file__).parent / "style.css").read_bytes()
    # OPTIONS is not answered.
    for name, rule, method, view in (
        ("style", "/style.css", "GET", lambda: _style(style)),
        ("show", "/<token>", "GET", views.show),
        ("decide", "/<token>", "POST", views.decide),
        ("image", "/<token>/images/<int:index>", "GET", views.image),
    ):
        pages.add_url_rule(rule, name, view, methods=[method], provide_automatic_options=False)
    return pages


class _Views:
    def __init__(self, here: Services, ring: Ring) -> None:
        self._here = here
        self._ring = ring

    def show(self, token: str) -> Response:
        return self._page(self._approval(token))

    def decide(self, token: str) -> Response:
        approval_id = self._approval(token)
        if is_foreign(request, self._here.settings.console_url):
            return self._page(approval_id, 403, "Another website sent this decision. Open the link yourself to decide.")
        request.max_content_length = _LARGEST_FORM
        who = person(_name(request.form.get("name", "")), request.form.get("why", "")[:_LONGEST_NOTE])
        action = action_log.begin(
            self._here,
            NewAction(
                door="link",
                actor=who.name,
                action="POST /approvals",
                subject=approval_id,
                request_id=str(g.get("request_id", "")),
            ),
        )
        answer = self._decided(approval_id, who)
        action_log.finish(self._here, action, answer.status_code, approval_id)
        return answer

    def image(self, token: str, index: int) -> Response:
        """Serve the bytes themselves: a bucket link would need access to the bucket and outlive the decision."""
        asset = image_of(self._here, self._approval(token), index)
        headers = {"Cache-Control": "private, max-age=3600", "Content-Disposition": "inline"}
        if asset.bytes is not None:
            headers["Content-Length"] = str(asset.bytes)
        kind = asset.content_type if asset.content_type in _SHOWN else "application/octet-stream"
        if request.method == "HEAD":
            return Response(headers=headers, content_type=kind)
        opened = ExitStack()
        pieces = opened.enter_context(self._here.archive.read(str(asset.object_key)))
        answer = Response(_each(pieces, opened), headers=headers, content_type=kind)
        answer.call_on_close(opened.close)
        return answer

    def _approval(self, token: str) -> str:
        try:
            found = self._here.signer.approval_of(token)
        except ConfigurationError:
            found = None
        if found is None:
            raise NotFound
        return found

    def _decided(self, approval_id: str, who: Person) -> Response:
        try:
            done = decide(self._here, approval_id, request.form, who)
        except AlreadyDecided:
            return self._page(approval_id, 409, "Your decision came too late and changed nothing.")
        except RequestInvalid as error:
            return self._page(approval_id, 422, _sentence(redact(str(error))))
        self._ring(*done.wakes)
        if done.is_new:
            log.info("%s was %s", approval_id, usecase.in_words(done.approval))
        return self._page(approval_id, told="" if done.is_new else "This was already decided; nothing was changed.")

    def _page(self, approval_id: str, status: int = 200, told: str = "") -> Response:
        page = page_of(self._here, approval_id)
        approval = page.approval
        text = render_template(
            "approval.html",
            page=page,
            approval=approval,
            token=request.view_args["token"],  # type: ignore[index]  # every route here that shows a page has one
            told=told,
            chosen=request.form.getlist("pick") if request.method == "POST" else [],
            state=str(state_now(approval, self._here.clock())),
        )
        return Response(text, status=status, content_type="text/html; charset=utf-8")


def _name(typed: str) -> str:
    """Return the name that the person gave, which is unverified."""
    shown = " ".join("".join(one if one.isprintable() else " " for one in typed).split())[:_LONGEST_NAME]
    return f"link ({shown})" if shown else "link"


def _each(pieces: Iterator[bytes], opened: ExitStack) -> Iterator[bytes]:
    with opened:
        yield from pieces


def _style(text: bytes) -> Response:
    return Response(text, content_type="text/css; charset=utf-8", headers={"Cache-Control": "public, max-age=3600"})


def _guard(answer: Response) -> Response:
    for name, value in _HEADERS.items():
        answer.headers.setdefault(name, value)
    return answer


def _problem(error: Exception) -> Response:
    if isinstance(error, NotFound | NoSuchRow):
        return _message(404, "This link leads nowhere. It is incomplete, or what it led to was deleted.")
    if isinstance(error, RequestEntityTooLarge):
        return _message(413, "Your note is too long. Go back and shorten it.")
    if isinstance(error, HTTPException) and error.code is not None:
        answer = _message(error.code, f"{HTTP_STATUS_CODES[error.code]}.")
        answer.headers.update({name: value for name, value in error.get_headers() if name == "Allow"})
        return answer
    if isinstance(error, CommitUnknown):
        return _message(503, "Your decision may or may not have been recorded. Send it again: it is carried out once.")
    if isinstance(error, LedgerUnavailable | ConfigurationError | ArchiveError):
        log.warning("answered 503 at the link of an approval: %s", error)
        return _message(503, "This is not possible right now, and nothing was decided. Try again in a minute.")
    log.error("answered 500 at the link of an approval", exc_info=error)
    return _message(500, "This did not work because of an error in Darkroom. Its log has the details.")


def _message(status: int, told: str) -> Response:
    text = render_template("message.html", told=told)
    headers = {"Retry-After": "5"} if status == 503 else {}
    return Response(text, status=status, content_type="text/html; charset=utf-8", headers=headers)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
