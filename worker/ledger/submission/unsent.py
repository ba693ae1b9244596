"""Claims that this process has not started to send: only these were certainly not charged."""

import threading
from collections.abc import Collection, Iterable, Mapping


class Unsent:
    """Attempts with their generations; thread-safe. This process never sends the abandoned ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: dict[str, str] = {}
        self._given_up: dict[str, str] = {}

    def claim(self, attempts: Mapping[str, str]) -> None:
        """Add attempt → generation before it is certain that the ledger has them."""
        with self._lock:
            self._claimed.update(attempts)

    def begin(self, attempt_id: str) -> bool:
        """Return whether to send it: True once, if it is claimed and not abandoned."""
        with self._lock:
            return self._claimed.pop(attempt_id, None) is not None

    def give_up(self, attempt_ids: Collection[str] | None = None) -> None:
        """Abandon these attempts, or all that are claimed and not started."""
        with self._lock:
            chosen = (
                list(self._claimed) if attempt_ids is None else [one for one in attempt_ids if one in self._claimed]
            )
            self._given_up.update((one, self._claimed.pop(one)) for one in chosen)

    def given_up(self) -> Mapping[str, str]:
        with self._lock:
            return dict(self._given_up)

    def settled(self, attempt_ids: Iterable[str]) -> None:
        """Remove attempts that the ledger has settled, or never had."""
        with self._lock:
            for one in attempt_ids:
                self._claimed.pop(one, None)
                self._given_up.pop(one, None)
