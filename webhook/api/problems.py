"""Every error as a problem document (RFC 9457)."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wrappers import Response

from webhook.api.call import Refused
from webhook.api.wording import for_programs
from webhook.statuses import RETRY_AFTER, STATUS
from worker.errors import CommitUnknown, KeyInUse, NotYet
from worker.secrets import redact, secrets_hidden

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_SAFE = "repeat the request unchanged, with the same Idempotency-Key or keys: nothing is created or paid for twice"

#: instead of Flask's texts, which are for people with a browser
_SAID: Mapping[int, str] = {
    400: "the request cannot be read, or its body is incomplete",
    404: "there is nothing at this path; /v1/openapi.json lists all paths",
    405: "this path takes other methods: see the Allow header",
}


def problem_of(error: Exception, request_id: str) -> Response:
    """Turn `error` into a problem; internal errors are logged, and the answer has only their request id."""
    if isinstance(error, Refused):
        return problem(
            error.status, error.code, str(error), request_id, headers=error.headers, errors=error.errors,
            more_errors=error.more_errors,
        )  # fmt: skip
    if isinstance(error, HTTPException) and error.code is not None:
        kept = {name: value for name, value in error.get_headers() if name.lower() != "content-type"}
        code = HTTP_STATUS_CODES[error.code].lower().replace(" ", "_")
        detail = _SAID.get(error.code) or error.description or HTTP_STATUS_CODES[error.code]
        return problem(error.code, code, detail, request_id, headers=kept)
    for kind, status, code in STATUS:
        if isinstance(error, kind):
            if status == 503:
                log.warning("answered 503 to request %s: %s", request_id, error)
            told = f"{error}: {_SAFE}" if isinstance(error, CommitUnknown) else str(error)
            again = {"Retry-After": str(RETRY_AFTER)} if status == 503 or kind in (KeyInUse, NotYet) else {}
            # Programs rely on `errors` for invalid requests, even if the mistake has no specific place.
            errors = ({"detail": told},) if code == "invalid" else ()
            return problem(status, code, told, request_id, headers=again, errors=errors)
    log.error("answered 500 to request %s", request_id, exc_info=error)
    return problem(500, "internal", "an internal error; the log of the API has its traceback", request_id)


def problem(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    *,
    headers: Mapping[str, str] | None = None,
    errors: tuple[Mapping[str, Any], ...] = (),
    more_errors: int = 0,
) -> Response:
    document: dict[str, Any] = {
        "type": f"urn:darkroom:problem:{code}",
        "title": HTTP_STATUS_CODES[status],
        "status": status,
        "code": code,
        "detail": for_programs(redact(detail)),
        "request_id": request_id,
    }
    if errors:
        document["errors"] = [_redacted(one) for one in errors]
        document["more_errors"] = more_errors
    body = json.dumps(document, ensure_ascii=False)
    return Response(body, status=status, headers=dict(headers or {}), content_type=MEDIA_TYPE)


def _redacted(mistake: Mapping[str, Any]) -> dict[str, Any]:
    return {**secrets_hidden(mistake), "detail": for_programs(redact(mistake["detail"]))}
