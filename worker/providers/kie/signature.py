"""Verifies the signature of Kie.ai's callbacks, if a key is set at kie.ai/settings.

Wire facts: docs.kie.ai/common-api/webhook-verification. Surprise: the signature covers the task's id and a timestamp,
not the body. Anyone who sees a callback can resend it with other links.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from worker.errors import CallbackUnreadable

_TIMESTAMP = "X-Webhook-Timestamp"
_SIGNATURE = "X-Webhook-Signature"


def check_signature(
    keys: Sequence[str], headers: Mapping[str, str], task_id: str | None, received_at: datetime, window: timedelta
) -> None:
    """Raise CallbackUnreadable unless one of these keys signed it at most `window` before or after `received_at`."""
    timestamp, signature = headers.get(_TIMESTAMP), headers.get(_SIGNATURE)
    if not timestamp or not signature:
        raise CallbackUnreadable(
            "it is not signed, but KIE_WEBHOOK_HMAC_KEY is set: set the same key at kie.ai/settings, or unset both"
        )
    if task_id is None:
        raise CallbackUnreadable("it has no task id, so its signature proves nothing")
    said = _as_bytes(signature)
    if not any(hmac.compare_digest(said, _sign(key, task_id, timestamp)) for key in keys):
        raise CallbackUnreadable(
            "its signature is invalid: it is forged, or KIE_WEBHOOK_HMAC_KEY differs from the key at kie.ai/settings"
        )
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        raise CallbackUnreadable(f"its {_TIMESTAMP} is not a number of seconds")
    apart = abs(received_at.timestamp() - int(timestamp))
    if apart > window.total_seconds():
        raise CallbackUnreadable(
            f"it arrived {apart:.0f} s from its signing time, but KIE_WEBHOOK_WINDOW is {window.total_seconds():g} s"
        )


def proof_of(headers: Mapping[str, str]) -> str | None:
    """Return what is signed only once and must never come with a second body."""
    timestamp, signature = headers.get(_TIMESTAMP), headers.get(_SIGNATURE)
    return f"{timestamp} {signature}" if timestamp and signature else None


def _sign(key: str, task_id: str, timestamp: str) -> bytes:
    digest = hmac.new(key.encode(), f"{task_id}.".encode() + _as_bytes(timestamp), hashlib.sha256).digest()
    return base64.b64encode(digest)


def _as_bytes(header: str) -> bytes:
    # compare_digest accepts only ASCII strings, and a header may contain anything.
    return header.encode(errors="surrogatepass")
