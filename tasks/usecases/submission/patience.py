"""Waiting for a temporarily unreachable ledger."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from worker.errors import CommitUnknown, DarkroomError, LedgerUnavailable, RequestInvalid
from worker.ledger.generations import BeingWritten
from worker.secrets import redact

#: seconds to retry after the ledger's first failure
PATIENCE = 10.0
#: seconds between tries: the first pause and the longest
_PAUSE, _LONGEST_PAUSE = 0.2, 2.0
#: seconds after which to tell the waiting user why
_LONG = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """`tell`: messages for the waiting user. `go_on`: how to complete what may have been written.

    `forget`: called once it is certain that nothing was written.
    """

    tell: Callable[[str], None]
    go_on: Callable[[], str]
    forget: Callable[[], None]

    def write(self, once: Callable[[], T], may_be_written: Callable[[], bool]) -> T:
        """Call `once` until the ledger accepts it.

        `may_be_written`: whether an earlier call, or process, has written it. Raises CommitUnknown, with the next step,
        if the ledger is gone and may have written it; LedgerUnavailable if it has not; and whatever the call raises.
        """
        may_be, started, ends, pause, is_told = may_be_written(), time.monotonic(), None, _PAUSE, False
        while True:
            try:
                return once()
            except LedgerUnavailable as error:
                may_be |= isinstance(error, CommitUnknown) or may_be_written()
                reason = str(error.__cause__ if isinstance(error, CommitUnknown) else error)
                resumes = time.monotonic() + pause
                # The other writer continues, or is found to be dead.
                ends = None if isinstance(error, BeingWritten) else ends or resumes + PATIENCE
                if ends and resumes > ends and may_be:
                    raise CommitUnknown(f"{reason}; {self.go_on()}") from error
                if ends and resumes > ends:
                    self.forget()
                    raise LedgerUnavailable(f"{reason}; nothing was written") from error
            except DarkroomError as error:
                # An earlier process cannot have written an invalid request: it would have seen the same error.
                if not may_be or isinstance(error, RequestInvalid):
                    self.forget()
                raise
            if not is_told and resumes - started > _LONG:
                self.tell(redact(_told(reason, ends)))
                is_told = True
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def _told(reason: str, ends: float | None) -> str:
    if ends is None:
        return f"waiting: {reason}"
    return f"the ledger is unavailable ({reason}): retrying for {PATIENCE:g} s"
