"""Every error as a page: what is wrong, and what to do."""

import logging
import re
from collections.abc import Mapping

from flask import Response, g, make_response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from webhook.console.wording import for_people
from webhook.statuses import RETRY_AFTER, STATUS
from worker.errors import CommitUnknown, DarkroomError, KeyInUse
from worker.secrets import redact

log = logging.getLogger(__name__)

_TITLES = {
    401: "Log in",
    403: "Not allowed",
    404: "Not found",
    409: "Not possible now",
    410: "No longer here",
    413: "Too large",
    422: "Check what you entered",
    429: "Too many attempts",
    503: "Temporarily unavailable",
}
_SAID: Mapping[int, str] = {
    400: "The request cannot be read, or is incomplete. Go back, reload the page and try again.",
    404: "There is no such page. The address may be mistyped, or what it showed was deleted.",
    405: "This address does not take requests of this kind. Go back and reload the page.",
    413: "What was sent is too large.",
}
_INTERNAL = "Something went wrong. The log of this process has the reason under the number below."
#: ids and addresses, which are left unchanged
_IS_NO_WORD = re.compile(r"[a-z]+_[0-9a-f]|https?://")
_BEING_DONE = "This form is still being processed. Wait half a minute, then send it again: nothing is done twice."
_SAFE = "Send the form again: nothing is created or paid for twice"


class Refusal(DarkroomError):
    """A request that a page refuses with `status`."""

    def __init__(self, message: str, *, status: int, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class Shut(Refusal):
    """A person who is let in to no page (403)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, status=403)


def problem_page(error: Exception, request_id: str) -> Response:
    """Turn `error` into a page; internal errors are logged, and shown only by their request id."""
    status, told, headers = _told(error, request_id)
    page = render_template(
        "console/problem.html",
        title=_TITLES.get(status) or HTTP_STATUS_CODES[status],
        told=redact(told),
        request_id=request_id if status >= 500 else None,
        person=g.get("person"),
        is_fragment="HX-Request" in request.headers,
        needs_login=status == 401,
        leads_back=not isinstance(error, Shut),
    )
    response = make_response(page, status)
    response.headers.update(headers)
    return response


def _told(error: Exception, request_id: str) -> tuple[int, str, Mapping[str, str]]:
    if isinstance(error, Refusal):
        return error.status, as_sentence(str(error)), error.headers
    if isinstance(error, HTTPException) and error.code is not None:
        kept = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
        return error.code, _SAID.get(error.code) or error.description or HTTP_STATUS_CODES[error.code], kept
    if isinstance(error, KeyInUse):
        return 409, _BEING_DONE, {}
    for kind, status, _ in STATUS:
        if isinstance(error, kind):
            if status == 503:
                log.warning("answered 503 to request %s: %s", request_id, error)
            told = f"{error}. {_SAFE}" if isinstance(error, CommitUnknown) else str(error)
            return status, as_sentence(for_people(told)), {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    log.error("answered 500 to request %s", request_id, exc_info=error)
    return 500, _INTERNAL, {}


def as_sentence(told: str) -> str:
    """Return the text of an error as a complete sentence."""
    begin = told[:1] if _IS_NO_WORD.match(told) else told[:1].upper()
    return begin + told[1:] + ("" if told.endswith((".", "!", "?")) else ".")
