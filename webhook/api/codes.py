"""The codes of problems: stable names for programs."""

from collections.abc import Mapping

#: code → its status, and what to do
CODES: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "The request is not valid HTTP, or its body is incomplete."),
    "not_json": (400, "The body is not valid UTF-8 JSON, or an object repeats a name; `detail` says where."),
    "idempotency_key_missing": (400, "Send an `Idempotency-Key`, or a `key` for each item; `detail` shows how."),
    "idempotency_key_invalid": (400, "An `Idempotency-Key` has 1 to 255 printable ASCII characters."),
    "token_missing": (401, "Send `Authorization: Bearer dk_…`; `detail` says why it is needed here."),
    "token_invalid": (401, "The token is wrong, unknown, revoked or expired; `detail` says which."),
    "token_in_url": (401, "Send the token in a header: URLs end up in logs. Revoke this token."),
    "max_cost_exceeded": (402, "The request would cost more than its own `max_cost`; nothing was created."),
    "scope_missing": (403, "The token may not do this; `detail` names the scope."),
    "not_found": (404, "There is no such path, generation, batch or asset."),
    "method_not_allowed": (405, "The path takes other methods: see the `Allow` header."),
    "key_in_use": (
        409,
        "The first request with this key is still running: repeat this one after `Retry-After` seconds.",
    ),
    "not_possible": (409, "The current state does not allow this; `detail` names the state."),
    "sent_before": (
        409,
        "The request was interrupted earlier and may have been carried out; `detail` says why it is refused now.",
    ),
    "already_decided": (409, "Somebody already decided differently; `detail` says who, when and what."),
    "expired": (409, "Nobody decided in time; `detail` gives the deadline."),
    "not_yet": (409, "The asset is not stored yet; `detail` says why."),
    "gone": (410, "It was deleted."),
    "events_pruned": (410, "The event in `after` is no longer kept; `detail` names the oldest one."),
    "length_required": (411, "Send the file with `Content-Length`, not in chunks."),
    "request_entity_too_large": (413, "The body is larger than the limit in `detail`."),
    "unsupported_media_type": (415, "Send one of the content types of the operation."),
    "unsupported_content_encoding": (415, "Send the body without `Content-Encoding`."),
    "invalid": (
        422,
        "A value is wrong; each entry of `errors` says what is wrong and where (`pointer`, `parameter`, `line`).",
    ),
    "rows_invalid": (
        422,
        "Rows of the batch are invalid, and nothing was created; `errors` has their lines and columns.",
    ),
    "key_reused": (422, "This `Idempotency-Key` belongs to a different request: use a new one."),
    "too_many_requests": (429, "The token's rate limit is reached: repeat the request after `Retry-After` seconds."),
    "internal": (500, "An internal error. The API's log has the traceback under `request_id`."),
    "outcome_unknown": (
        503,
        "The ledger became unavailable during or after the commit: repeat the request with the same key.",
    ),
    "ledger_unavailable": (503, "The ledger does not answer: repeat the request after `Retry-After` seconds."),
    "bucket_unavailable": (
        503,
        "The bucket does not answer, or refuses access: repeat the request after `Retry-After` seconds.",
    ),
    "busy": (503, "No process is free: repeat the request after `Retry-After` seconds."),
    "configuration": (503, "A setting of Darkroom is missing or wrong; `detail` names it."),
}
#: codes that come from HTTP itself
OF_HTTP = frozenset({"bad_request", "not_found", "method_not_allowed", "request_entity_too_large"})
