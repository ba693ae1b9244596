"""Whether an older version of Darkroom may still start new work on a ledger that it shares with a newer one.

Beside the ledger's revision, `darkroom db upgrade` stores the lowest revision whose code may start work on it. This is
how a running process learns about a newer version.
"""

import time
from pathlib import Path

from sqlalchemy import Connection, text

from worker.errors import VersionTooOld

#: the revision of this code: its newest migration
REVISION = max(file.name[:4] for file in (Path(__file__).parent.parent / "migrations" / "versions").glob("[0-9]*.py"))
#: seconds for which the ledger's answer is cached
FRESH_SECONDS = 1.0

_OLDEST = text("SELECT oldest_code FROM alembic_version")


def oldest_code(connection: Connection) -> str:
    """Return the lowest revision whose code may start work on this ledger."""
    return str(connection.execute(_OLDEST).scalar_one())


class Compatibility:
    """A process's cached view of the required revision, at most a second old when new work starts."""

    def __init__(self) -> None:
        self._oldest = ""
        self._ask_at = 0.0

    def objection(self, connection: Connection) -> VersionTooOld | None:
        """Return why this code must not start new work on this ledger; None if it may."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._oldest = oldest_code(connection)
            self._ask_at = now + FRESH_SECONDS
        return objection_to(REVISION, self._oldest)


def objection_to(revision: str, oldest: str) -> VersionTooOld | None:
    """Return why code of this revision must not start new work on a ledger that requires `oldest`; None if it may."""
    if revision >= oldest:
        return None
    return VersionTooOld(
        f"this version of Darkroom is too old for its ledger (it has revision {revision}, and {oldest} or newer is "
        "required): it starts nothing new and only records work in progress; use the newer version instead"
    )
