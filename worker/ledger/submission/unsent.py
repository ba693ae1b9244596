"""What this process has claimed and not begun to send: of that, and of nothing else, it knows that nobody pays."""

import threading
from collections.abc import Collection, Iterable, Mapping


class Unsent:
    """Attempts with their generations; safe between threads. Those given up are never sent by this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: dict[str, str] = {}
        self._given_up: dict[str, str] = {}

    def claim(self, attempts: Mapping[str, str]) -> None:
        """Attempt → generation; before it is known whether the ledger has them."""
        with self._lock:
            self._claimed.update(attempts)

    def begin(self, attempt_id: str) -> bool:
        """Whether it may be sent: True once, for what is claimed and not given up."""
        with self._lock:
            return self._claimed.pop(attempt_id, None) is not None

    def give_up(self, attempt_ids: Collection[str] | None = None) -> None:
        """These, or all that are claimed and not begun."""
        with self._lock:
            chosen = (
                list(self._claimed) if attempt_ids is None else [one for one in attempt_ids if one in self._claimed]
            )
            self._given_up.update((one, self._claimed.pop(one)) for one in chosen)

    def given_up(self) -> Mapping[str, str]:
        with self._lock:
            return dict(self._given_up)

    def settled(self, attempt_ids: Iterable[str]) -> None:
        """The ledger says how they ended, or that it never had them."""
        with self._lock:
            for one in attempt_ids:
                self._claimed.pop(one, None)
                self._given_up.pop(one, None)
