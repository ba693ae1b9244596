"""What both kinds of database have in common: an original that can be copied, and its copy."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from worker.errors import ConfigurationError

#: how many times the ledger's size must be free: the copy, a table that a migration rewrites, and the log of both
ROOM = 3


@dataclass(frozen=True, slots=True)
class Copy:
    """`place`: the folder or database of the copy, for people. `bytes`: the original's size."""

    url: str = field(repr=False)
    place: str
    bytes: int
    seconds: float


class Original(Protocol):
    """A ledger that is only read."""

    def revision(self) -> str:
        """Return the revision of its tables. Raises ConfigurationError if it has none."""

    def copied(self, progress: Callable[[float], None]) -> AbstractContextManager[Copy]:
        """Copy a consistent snapshot while others write; remove the copy at the end.

        `progress` gets the completed share, from 0 to 1. Also removes what killed rehearsals left behind.
        Raises ConfigurationError if there is no room for a copy or it cannot be made.
        """


def require_room(needed: int, free: int, where: str, advice: str) -> None:
    """Raise ConfigurationError unless `needed` bytes are free."""
    if free < needed:
        raise ConfigurationError(
            f"a rehearsal needs {_in_bytes(needed)} {where}, {ROOM} times the size of the ledger, but "
            f"only {_in_bytes(free)} are free: {advice}"
        )


def _in_bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"
