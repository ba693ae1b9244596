"""API keys: each has its own tasks and charges, and can be made to fail."""

import threading
from collections.abc import Mapping
from typing import Any

from flask import g, has_request_context, request

#: the failures that a key can be made to cause; each dialect has its own error for them
TROUBLES: Mapping[str, str] = {
    "invalid": "the key is wrong",
    "used-up": "the account is out of credit",
    "too_many": "429 with Retry-After: 1, for each submission",
}

#: keys that always fail
WORDS = ("invalid", "used-up")


class Keys:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._troubles: dict[str, str] = {}
        #: key → how many submissions it may still make
        self._credit: dict[str, int] = {}

    def replace(self, troubles: Mapping[str, str]) -> None:
        """Map keys to TROUBLES; raises ValueError for anything else."""
        for trouble in troubles.values():
            if trouble not in TROUBLES:
                raise ValueError(f"unknown failure {trouble!r}; expected one of {', '.join(TROUBLES)}")
        with self._lock:
            self._troubles = dict(troubles)

    def give_credit(self, credit: Any) -> dict[str, int]:
        """Limit the submissions of these keys, and of no other; return the limits. Raises ValueError."""
        if not isinstance(credit, Mapping) or not all(_is_credit(number) for number in credit.values()):
            raise ValueError('credit must be a JSON object of keys and numbers of submissions, like {"my-key": 3}')
        with self._lock:
            self._credit = dict(credit)
            return dict(self._credit)

    def credit(self) -> dict[str, int]:
        """Return how many submissions each key with a limit may still make."""
        with self._lock:
            return dict(self._credit)

    def spend(self, key: str | None) -> None:
        """A submission with this key was accepted."""
        with self._lock:
            if key in self._credit:
                self._credit[key] = max(0, self._credit[key] - 1)

    def trouble(self) -> str | None:
        """Return how this request's key fails, if it does."""
        key = asking_key() or ""
        with self._lock:
            return "used-up" if self._credit.get(key) == 0 else self._troubles.get(key)

    def look(self) -> None:
        """Before each request: note its key, and replace a failing key by the word for its failure."""
        g.key = _read_key()
        if (word := self.trouble()) in WORDS:
            for header in ("HTTP_AUTHORIZATION", "HTTP_MJ_API_SECRET"):
                if header in request.environ:
                    request.environ[header] = f"Bearer {word}" if header == "HTTP_AUTHORIZATION" else word


def _is_credit(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


def asking_key() -> str | None:
    """Return the current request's key; None for the sandbox's own pages and outside of requests."""
    return g.get("key") if has_request_context() else None


def _read_key() -> str | None:
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    return request.headers.get("mj-api-secret") or bearer or None
