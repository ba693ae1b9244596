"""Passwords, hashed with argon2 one at a time; a wrong name takes as long as a wrong password."""

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from worker.errors import RequestInvalid
from worker.runtime import locked_cached_property

if TYPE_CHECKING:
    from argon2 import PasswordHasher

#: OWASP's minimum memory, 19 MiB, and its number of passes for that: the library's default of 64 MiB is more than the
#: whole process has left
MEMORY_KIB, PASSES, LANES = 19 * 1024, 2, 1
#: characters
SHORTEST, LONGEST = 12, 1000


class Passwords:
    """Hashes and checks passwords; one per process."""

    def __init__(self) -> None:
        # All in one thread: each thread that has ever hashed keeps 19 MiB for its next allocation, and two at once
        # would take both cores of a small machine.
        self._thread = ThreadPoolExecutor(1, "passwords")

    @locked_cached_property
    def _hasher(self) -> "PasswordHasher":
        # Imported here because it takes 4 MB, and most processes never check a password.
        from argon2 import PasswordHasher  # noqa: PLC0415

        return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)

    @locked_cached_property
    def _nobodys(self) -> str:
        """The hash that a password is checked against if the user has none."""
        return self._thread.submit(self._hasher.hash, "").result()

    def hash(self, password: str) -> str:
        """Return a password's hash. Raises RequestInvalid for a password that is too short or too long."""
        plain = _normal(password)
        if not SHORTEST <= len(plain) <= LONGEST:
            raise RequestInvalid(
                f"the password has {len(plain):,} characters: use {SHORTEST} to {LONGEST:,}, such as four unusual words"
            )
        return self._thread.submit(self._hasher.hash, _bytes(plain)).result()

    def is_right(self, kept: str | None, password: str) -> bool:
        """Return whether this is the password; `kept`: None for a user without one, which takes as long."""
        from argon2.exceptions import Argon2Error, InvalidHashError  # noqa: PLC0415  as above

        # Computed before the check, so that it does not affect the duration.
        nobodys = self._nobodys
        given = _bytes(_normal(password)[: LONGEST + 1])
        try:
            self._thread.submit(self._hasher.verify, nobodys if kept is None else kept, given).result()
        except (Argon2Error, InvalidHashError):
            return False
        return kept is not None

    def renewed(self, kept: str, password: str) -> str | None:
        """Return the password hashed with today's parameters; None if the stored hash already uses them."""
        if not self._hasher.check_needs_rehash(kept):
            return None
        return self._thread.submit(self._hasher.hash, _bytes(_normal(password))).result()


def _normal(password: str) -> str:
    """Normalize text that looks the same: keyboards encode an é in two ways."""
    return unicodedata.normalize("NFKC", password)


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
