"""Signed callback URLs: each authorizes reports on one attempt and nothing else."""

import base64
import hashlib
import hmac
import re

from worker.errors import ConfigurationError

_KEY = re.compile(r"([A-Za-z0-9]{1,16}):(\S{32,})")


class Signer:
    """Signs with the first of `keys` and accepts all of them, for key rotation.

    `keys`: `id:secret`, separated by commas; a secret has at least 32 characters.
    """

    def __init__(self, keys: str) -> None:
        parsed = [_KEY.fullmatch(key.strip()) for key in keys.split(",")]
        if not all(parsed):
            raise ConfigurationError(
                "DARKROOM_SIGNING_KEYS: expected `id:secret`, several separated by commas, "
                "each secret at least 32 characters long"
            )
        self._keys = {match[1]: match[2].encode() for match in parsed if match}
        if len(self._keys) < len(parsed):
            raise ConfigurationError("DARKROOM_SIGNING_KEYS: two keys have the same id; each needs its own")
        self._newest = next(iter(self._keys))

    def token(self, provider: str, attempt_id: str) -> str:
        return f"{self._newest}.{self._mac(self._newest, provider, attempt_id)}"

    def verify(self, provider: str, attempt_id: str, token: str) -> bool:
        key_id, _, mac = token.partition(".")
        if key_id not in self._keys:
            return False
        # As bytes: compare_digest raises TypeError for a str that is not ASCII.
        return hmac.compare_digest(mac.encode("utf-8", "replace"), self._mac(key_id, provider, attempt_id).encode())

    def callback_url(self, public_url: str, provider: str, attempt_id: str) -> str:
        return f"{public_url}/callbacks/{provider}/{attempt_id}/{self.token(provider, attempt_id)}"

    def _mac(self, key_id: str, provider: str, attempt_id: str) -> str:
        signed = f"callback|{provider}|{attempt_id}".encode("utf-8", "replace")
        digest = hmac.digest(self._keys[key_id], signed, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
