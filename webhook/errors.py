"""Maps errors to HTTP responses, and limits what a response may reveal."""

import json
import logging
from collections.abc import Mapping

from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wrappers import Response

from worker.errors import ConfigurationError, DarkroomError, LedgerUnavailable, NotFound, RequestInvalid

log = logging.getLogger(__name__)

#: our errors that are not listed here become 500
STATUS: Mapping[type[DarkroomError], int] = {
    RequestInvalid: 400,
    NotFound: 404,
    # Ask the sender to retry: the cause, such as missing tables, may be fixed by then.
    ConfigurationError: 503,
    LedgerUnavailable: 503,
}

#: seconds after which a refused sender may retry
RETRY_AFTER = 5


def answer(error: Exception) -> Response:
    """Turn `error` into a short problem document (RFC 9457), never HTML.

    Internal errors are logged; the caller sees only the caller's own mistakes.
    """
    if isinstance(error, HTTPException) and error.code is not None:
        response = Response(headers=error.get_headers())
        return _problem(response, error.code)
    status = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 500)
    if status < 500:
        return _problem(Response(), status, str(error))
    if status == 503:
        log.warning("answered 503: %s", error)
        return _problem(Response(headers={"Retry-After": str(RETRY_AFTER)}), status)
    log.error("answered 500", exc_info=error)
    return _problem(Response(), status)


def _problem(response: Response, status: int, detail: str | None = None) -> Response:
    problem = {"title": HTTP_STATUS_CODES[status], "status": status}
    response.status_code = status
    response.content_type = "application/problem+json"
    response.set_data(json.dumps(problem | ({"detail": detail} if detail else {})))
    return response
