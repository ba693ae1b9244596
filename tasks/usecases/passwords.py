"""Passwords as argon2 keeps them: one is hashed at a time, and a wrong name takes as long as a wrong password."""

import unicodedata
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from worker.errors import RequestInvalid

if TYPE_CHECKING:
    from argon2 import PasswordHasher

#: OWASP's least memory, 19 MiB, and its number of passes for that: 64 MiB, the library's default, would be more than
#: the whole process has left
MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
#: characters
SHORTEST, LONGEST = 12, 1000


class Passwords:
    """Hashes and checks passwords; one per process."""

    def __init__(self) -> None:
        # Two at once would take twice the memory, and both cores of a small machine.
        self._turn = Lock()

    @cached_property
    def _hasher(self) -> "PasswordHasher":
        # Here, since it takes 4 MB, and most processes never ask for a password.
        from argon2 import PasswordHasher  # noqa: PLC0415

        return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)

    @cached_property
    def _nobodys(self) -> str:
        """What a password is checked against where there is none."""
        return self._hasher.hash("")

    def hash(self, password: str) -> str:
        """Return what is kept of a password. Raises RequestInvalid for one that is too short or too long."""
        plain = _normal(password)
        if not SHORTEST <= len(plain) <= LONGEST:
            raise RequestInvalid(
                f"the password has {len(plain):,} characters: use {SHORTEST} to {LONGEST:,}, such as four unusual words"
            )
        with self._turn:
            return self._hasher.hash(_bytes(plain))

    def is_right(self, kept: str | None, password: str) -> bool:
        """Whether this is the password; `kept`: None for somebody who has none, which takes as long."""
        from argon2.exceptions import Argon2Error, InvalidHashError  # noqa: PLC0415  as above

        with self._turn:
            # Before the first check, so that it is part of none.
            nobodys = self._nobodys
            try:
                self._hasher.verify(nobodys if kept is None else kept, _bytes(_normal(password)[: LONGEST + 1]))
            except (Argon2Error, InvalidHashError):
                return False
        return kept is not None

    def renewed(self, kept: str, password: str) -> str | None:
        """Return the same password under the parameters of today; None if it is kept so already."""
        if not self._hasher.check_needs_rehash(kept):
            return None
        with self._turn:
            return self._hasher.hash(_bytes(_normal(password)))


def _normal(password: str) -> str:
    """One form of what looks the same: keyboards write an é in two ways."""
    return unicodedata.normalize("NFKC", password)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
