"""Two versions of Darkroom at work on one ledger: whether the older one may still begin anything.

`darkroom db upgrade` keeps, beside the revision of the ledger, the lowest one whose code may begin work on it. So a
process that only knows its own revision learns of a newer one while it runs.
"""

import time
from pathlib import Path

from sqlalchemy import Connection, text

from worker.errors import VersionTooOld

#: of this code: the newest migration that it has
REVISION = max(file.name[:4] for file in (Path(__file__).parent.parent / "migrations" / "versions").glob("[0-9]*.py"))
#: seconds for which an answer of the ledger is believed
FRESH_SECONDS = 1.0

_OLDEST = text("SELECT oldest_code FROM alembic_version")


def oldest_code(connection: Connection) -> str:
    """The lowest revision whose code may begin work on this ledger."""
    return str(connection.execute(_OLDEST).scalar_one())


class Compatibility:
    """What one process knows of it, asked anew each second by whoever is about to begin something."""

    def __init__(self) -> None:
        self._oldest = ""
        self._ask_at = 0.0

    def objection(self, connection: Connection) -> VersionTooOld | None:
        """Why this code must not begin anything on this ledger; None when it may."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._oldest = oldest_code(connection)
            self._ask_at = now + FRESH_SECONDS
        return objection_to(REVISION, self._oldest)


def objection_to(revision: str, oldest: str) -> VersionTooOld | None:
    """Why code of that revision must not begin anything on a ledger that needs `oldest`; None when it may."""
    if revision >= oldest:
        return None
    return VersionTooOld(
        f"this version of Darkroom is too old for its ledger (it has revision {revision}, and {oldest} or newer is "
        "needed): it begins nothing, and only writes down what is under way; use the newer version instead"
    )
