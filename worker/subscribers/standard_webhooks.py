"""Standard Webhooks 1.0: the headers that prove who sent an event and when (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime

FORM = (
    "expected whsec_ and the base64 of 24 to 64 random bytes, several separated by commas while one replaces another; "
    "make one with: python3 -c 'import base64, secrets; "
    'print("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())\''
)


class WebhookSigner:
    """Signs with each of `secrets`, so that subscribers may use the old or the new one during a rotation.

    Raises ValueError, whose text contains no secrets.
    """

    def __init__(self, secrets: str) -> None:
        self._keys = [_key(secret.strip()) for secret in secrets.split(",")]

    def headers(self, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the headers for one try. `message_id`: the same for each try; `timestamp`: this try's Unix time."""
        signed = f"{message_id}.{timestamp}.".encode() + body
        macs = (base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in self._keys)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(f"v1,{mac}" for mac in macs),
        }


def signed_request(
    signer: WebhookSigner, event: Mapping[str, object], now: datetime, content: Mapping[str, object] | None = None
) -> tuple[bytes, dict[str, str]]:
    """Return body and headers for one try to deliver an event; `content`: what to send, if not the event itself."""
    body = json.dumps(content or event, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "Darkroom"}
    return body, headers | signer.headers(str(event["id"]), int(now.timestamp()), body)


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(FORM) from None
    if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError(FORM)
    return key
