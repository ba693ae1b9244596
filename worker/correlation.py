"""Signed URLs: of callbacks, each for reports on one attempt, and of approvals, each for one decision."""

import base64
import hashlib
import hmac
import re
from functools import cached_property
from typing import TYPE_CHECKING

from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from itsdangerous import Signer as TokenSigner

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

    def approval_token(self, approval_id: str) -> str:
        """Return a token that allows deciding this approval and nothing else; its row limits how long and how often."""
        return self._approvals.sign(approval_id).decode()

    def approval_url(self, console_url: str, approval_id: str) -> str:
        """Return the link with which anybody may decide: a secret that is never stored or logged."""
        return f"{console_url}/approvals/{self.approval_token(approval_id)}"

    def approval_of(self, token: str) -> str | None:
        """Return the id of the token's approval; None if no key has signed the token."""
        from itsdangerous import BadSignature  # noqa: PLC0415  as below

        try:
            return self._approvals.unsign(token).decode() if token.isascii() else None
        except BadSignature:
            return None

    @cached_property
    def _approvals(self) -> "TokenSigner":
        # Imported here: workers and commands rarely need it.
        from itsdangerous import Signer as TokenSigner  # noqa: PLC0415

        # It signs with the last key.
        keys = list(self._keys.values())[::-1]
        return TokenSigner(keys, salt="darkroom approval", key_derivation="hmac", digest_method=hashlib.sha256)

    def _mac(self, key_id: str, provider: str, attempt_id: str) -> str:
        signed = f"callback|{provider}|{attempt_id}".encode("utf-8", "replace")
        digest = hmac.digest(self._keys[key_id], signed, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
