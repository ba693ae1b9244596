"""Whose request it is: each key has its own tasks and its own line on the bill, and may be told to fail."""

import threading
from collections.abc import Mapping

from flask import g, has_request_context, request

#: what a key can be made to be answered with, besides success; each dialect says it in its own words
TROUBLES: Mapping[str, str] = {
    "invalid": "the key is wrong",
    "used-up": "there is no money left",
    "too_many": "429 with Retry-After: 1, for each submission",
}

#: keys that are in trouble wherever they are used
WORDS = ("invalid", "used-up")


class Keys:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._troubles: dict[str, str] = {}

    def replace(self, troubles: Mapping[str, str]) -> None:
        """Key → one of TROUBLES; raises ValueError for anything else."""
        for trouble in troubles.values():
            if trouble not in TROUBLES:
                raise ValueError(f"there is no trouble {trouble!r}; there are: {', '.join(TROUBLES)}")
        with self._lock:
            self._troubles = dict(troubles)

    def trouble(self) -> str | None:
        """Of the key of this request."""
        with self._lock:
            return self._troubles.get(asking_key() or "")

    def look(self) -> None:
        """Before each request: note its key, and let the dialects see the word for its trouble instead of it."""
        g.key = _read_key()
        if (word := self.trouble()) in WORDS:
            for header in ("HTTP_AUTHORIZATION", "HTTP_MJ_API_SECRET"):
                if header in request.environ:
                    request.environ[header] = f"Bearer {word}" if header == "HTTP_AUTHORIZATION" else word


def asking_key() -> str | None:
    """The key of the request that is being answered; None for the sandbox's own pages and outside of requests."""
    return g.get("key") if has_request_context() else None


def _read_key() -> str | None:
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    return request.headers.get("mj-api-secret") or bearer or None
