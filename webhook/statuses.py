"""The HTTP status for each error, at every private door."""

from webhook.bodies import Busy
from worker.errors import (
    AlreadyDecided,
    ArchiveError,
    CommitUnknown,
    ConfigurationError,
    DarkroomError,
    DownloadError,
    Gone,
    KeyInUse,
    KeyReused,
    LedgerUnavailable,
    NotFound,
    NotPossible,
    NotYet,
    RequestInvalid,
    SentBefore,
    TooLate,
)

#: seconds after which a refused caller may try again
RETRY_AFTER = 5

#: kind of error → status and code; the first match counts
STATUS: tuple[tuple[type[DarkroomError], int, str], ...] = (
    (KeyReused, 422, "key_reused"),
    (KeyInUse, 409, "key_in_use"),
    (SentBefore, 409, "sent_before"),
    (NotPossible, 409, "not_possible"),
    (RequestInvalid, 422, "invalid"),
    (TooLate, 409, "expired"),
    (AlreadyDecided, 409, "already_decided"),
    (Gone, 410, "gone"),
    (NotFound, 404, "not_found"),
    (NotYet, 409, "not_yet"),
    (CommitUnknown, 503, "outcome_unknown"),
    (LedgerUnavailable, 503, "ledger_unavailable"),
    (ConfigurationError, 503, "configuration"),
    (ArchiveError, 503, "bucket_unavailable"),
    # The process that decodes images was not available.
    (DownloadError, 503, "busy"),
    (Busy, 503, "busy"),
)
