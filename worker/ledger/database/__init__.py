"""The database under the ledger: connections, transactions, clock, errors, and version compatibility."""

from worker.ledger.database.bites import in_bites, incomplete, takes_several
from worker.ledger.database.compatibility import REVISION, objection_to, oldest_code
from worker.ledger.database.database import (
    BUSY_SECONDS,
    Clock,
    Database,
    Part,
    after_commit,
    missing_file,
    passwords_in,
)
from worker.ledger.database.errors import RowsChanged, sqlstate, translated_errors
from worker.ledger.database.server_clock import system_clock
from worker.ledger.database.sessions import CONNECT_ARGS

__all__ = [
    "BUSY_SECONDS",
    "CONNECT_ARGS",
    "REVISION",
    "Clock",
    "Database",
    "Part",
    "RowsChanged",
    "after_commit",
    "in_bites",
    "incomplete",
    "missing_file",
    "objection_to",
    "oldest_code",
    "passwords_in",
    "sqlstate",
    "system_clock",
    "takes_several",
    "translated_errors",
]
