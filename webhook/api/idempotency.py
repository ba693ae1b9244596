"""The header `Idempotency-Key`: a request is carried out once, however often it is sent."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from tasks.usecases.once import Once, once_for
from webhook.api.call import Call, Refused
from worker.errors import CommitUnknown, LedgerUnavailable

_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_HOW = (
    "without one, a repeat would create and pay for it again. Send your own key, and the same key with every repeat: "
    "curl -H 'Idempotency-Key: order-7' …"
)


def once_of(call: Call, body: BaseModel | None, *, is_needed: bool, file_sha256: str | None = None) -> Once | None:
    """Return the identity of the request; None without a key. `file_sha256`: of a file in its body.

    Raises Refused for a key that is invalid, or missing where it `is_needed`.
    """
    key = call.idempotency_key
    if key is None and is_needed:
        raise key_missing("this request has no Idempotency-Key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        told = "the Idempotency-Key must be 1 to 255 printable ASCII characters"
        raise Refused(told, status=400, code="idempotency_key_invalid")
    # Without defaults, so that a field added in a later version does not make it another request.
    said = None if body is None else body.model_dump(mode="json", exclude_defaults=True)
    asked = [call.request.method, call.request.path, said]
    return once_for(call.caller.owner, key, asked if file_sha256 is None else [*asked, file_sha256])


@contextmanager
def after_the_commit() -> Iterator[None]:
    """If the answer cannot be read, say that the request was carried out and may be repeated with its key."""
    try:
        yield
    except CommitUnknown:
        raise
    except LedgerUnavailable as error:
        raise CommitUnknown(f"the request was carried out, but its answer cannot be read: {error}") from error


def key_missing(told: str) -> Refused:
    return Refused(f"{told}: {_HOW}", status=400, code="idempotency_key_missing")
