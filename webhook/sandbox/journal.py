"""The sandbox's records: the bill, and a log of everything that happened."""

import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from typing import Any

from webhook.sandbox.progress import tell

#: the oldest entries are dropped first, so that a long benchmark does not fill the memory
LOG_LIMIT = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One accepted submission; a failed task is refunded, because Ace Data Cloud documents that it is not billed."""

    provider: str
    task_id: str
    prompt: str
    action: str
    callback_url: str | None
    at: float
    key: str | None = None
    amount: int = 1
    refunded: bool = False


class Journal:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._charges: dict[tuple[str, str], Charge] = {}
        self._log: deque[dict[str, Any]] = deque(maxlen=LOG_LIMIT)

    def charge(self, charge: Charge) -> None:
        with self._lock:
            self._charges[charge.provider, charge.task_id] = charge

    def refund(self, provider: str, task_id: str) -> None:
        with self._lock:
            if charge := self._charges.get((provider, task_id)):
                self._charges[provider, task_id] = replace(charge, refunded=True)

    def bill(self) -> dict[str, Any]:
        """`charges` is the number to pay for; `lines` includes refunds."""
        with self._lock:
            lines = list(self._charges.values())
        return {"charges": sum(not line.refunded for line in lines), "lines": [asdict(line) for line in lines]}

    def note(self, kind: str, **facts: Any) -> None:
        """Kinds: `submit`, `callback`, `query`, `download`."""
        entry = {"kind": kind, "at": time.time(), **facts}
        with self._lock:
            self._log.append(entry)
        tell(entry)

    def log(self, kind: str | None = None) -> list[dict[str, Any]]:
        with self._lock:
            return [entry for entry in self._log if kind in {None, entry["kind"]}]

    def forget(self) -> None:
        with self._lock:
            self._charges.clear()
            self._log.clear()
