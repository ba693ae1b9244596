"""Results that could not be recorded yet, and writes that must succeed in spite of errors."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from worker.errors import ConfigurationError, LedgerUnavailable
from worker.secrets import described

log = logging.getLogger(__name__)

#: seconds that results wait for an unavailable ledger
_PATIENCE = 30.0
_RETRY_SECONDS = 1.0

Result = TypeVar("Result")


@dataclass(slots=True)
class _Kept(Generic[Result]):
    result: Result
    give_up_at: float
    try_at: float
    is_fresh: bool = True


class Unwritten(Generic[Result]):
    """Results that are not in the ledger yet. A provider's reply to a POST cannot be fetched again.

    Each is kept for a while, whatever `record` raises, and none delays results that can be recorded.
    """

    def __init__(self, record: Callable[[Sequence[Result]], None]) -> None:
        self._record = record
        self._kept: list[_Kept[Result]] = []
        #: False while nothing can be recorded
        self.is_well = True
        #: why results were abandoned, if the results themselves were not the cause
        self.trouble: Exception | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, results: Sequence[Result]) -> None:
        now = time.monotonic()
        # While the ledger is unavailable, new results wait for the next retry of the others.
        try_at = now if self.is_well else max((one.try_at for one in self._kept), default=now)
        self._kept += [_Kept(result, now + _PATIENCE, try_at) for result in results]

    def write_down(self) -> None:
        """Try to record the results that are due."""
        began = time.monotonic()
        due = [one for one in self._kept if one.try_at <= began]
        if not due:
            return
        refused = self._refused(due)
        if len(refused) < len(due):
            self.is_well = True
        elif any(one.is_fresh for one, _ in refused):
            self.is_well = False
        now = time.monotonic()
        if refused:
            log.warning("%d results wait to be recorded: %s", len(refused), described(refused[-1][1]))
        self._kept = [one for one in self._kept if one.try_at > began]
        for one, error in refused:
            if now < one.give_up_at:
                one.try_at, one.is_fresh = now + _RETRY_SECONDS, False
                self._kept.append(one)
                continue
            is_ours = isinstance(error, LedgerUnavailable | ConfigurationError)
            log.error("could not record a result; its work is left to its lease", exc_info=not is_ours and error)
            self.trouble = error if is_ours else self.trouble

    def _refused(self, group: Sequence[_Kept[Result]]) -> list[tuple[_Kept[Result], Exception]]:
        error = self._error_of(group)
        if error is None or len(group) == 1:
            return [(one, error) for one in group if error is not None]
        # A single result may block the whole group, so try each individually.
        refused: list[tuple[_Kept[Result], Exception]] = []
        for place, one in enumerate(group):
            if (error := self._error_of([one])) is None:
                continue
            if isinstance(error, LedgerUnavailable):
                # The rest would each wait just as long to fail; next time they go before this one.
                return [*refused, *((it, error) for it in [*group[place + 1 :], one])]
            refused.append((one, error))
        return refused

    def _error_of(self, group: Sequence[_Kept[Result]]) -> Exception | None:
        try:
            self._record([one.result for one in group])
        except Exception as error:  # noqa: BLE001  whatever the error is, the results exist only here
            return error
        return None


def patiently(write: Callable[[], None]) -> None:
    """Retry for a while after any error: only this process has the data. Raises the last error."""
    give_up_at = time.monotonic() + _PATIENCE
    while True:
        try:
            return write()
        except Exception as error:
            if time.monotonic() > give_up_at:
                raise
            log.warning("could not return claims that were not sent; retrying: %s", described(error))
            time.sleep(_RETRY_SECONDS)
