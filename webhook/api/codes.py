"""The codes of problems: stable names of what went wrong, for programs."""

from collections.abc import Mapping

#: code → its status, and what to do
CODES: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "The request is not HTTP as it should be, or its body is not complete."),
    "not_json": (400, "The body is not valid JSON in UTF-8, or has a name twice; `detail` says where."),
    "scope_missing": (403, "The token may not do this; `detail` names the scope."),
    "not_found": (404, "There is no such path, generation, batch or asset."),
    "method_not_allowed": (405, "The path takes other methods: see the header `Allow`."),
    "key_in_use": (409, "The first request with this key is still running: repeat it after `Retry-After` seconds."),
    "request_entity_too_large": (413, "The body is larger than the limit in `detail`."),
    "unsupported_media_type": (415, "Send one of the content types of the operation."),
    "unsupported_content_encoding": (415, "Send the body without `Content-Encoding`."),
    "invalid": (422, "A value is wrong; each of `errors` says where (`pointer`, `parameter`, `line`) and what."),
    "key_reused": (422, "This `Idempotency-Key` belongs to another request: use a new one."),
    "internal": (500, "A fault of ours. Its log has the traceback under `request_id`."),
    "outcome_unknown": (503, "The connection to the ledger was lost at the commit: repeat it with the same key."),
    "ledger_unavailable": (503, "The ledger does not answer: repeat it after `Retry-After` seconds."),
    "configuration": (503, "A setting of Darkroom is missing or wrong; `detail` names it."),
}
#: those that HTTP names itself
OF_HTTP = frozenset({"bad_request", "not_found", "method_not_allowed", "request_entity_too_large"})
