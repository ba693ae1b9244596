"""The ledger's marker in the bucket, by which a ledger restored from a backup detects that it is old.

It is checked before submissions and by the clock, at most once per `EVERY`. An unreachable or slow bucket does not stop
a ledger that is already at work: the check is repeated once the bucket is back, because a ledger's number does not rise
without a check. A ledger that was not at work before waits for the bucket.
"""

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from typing import Any, TypeVar

from worker.archive import Archive
from worker.errors import ArchiveError, ConfigurationError, NotFound
from worker.ledger.restore_guard import Marker
from worker.services import Services

log = logging.getLogger(__name__)

#: seconds that a submission waits for the bucket
PATIENCE = 3.0
#: bytes
_LARGEST = 64 * 1024
_SCHEMA = 1

T = TypeVar("T")


def keep_watch(here: Services) -> None:
    """Compare the ledger with its marker in the bucket and raise both, unless another process has just done so."""
    if not here.ledger.restore.is_check_due():
        return
    try:
        archive = here.archive
        marker = _in_time(lambda: read(archive))
    except (ArchiveError, ConfigurationError, TimeoutError) as error:
        log.warning("cannot tell now whether the ledger was restored from a backup: %s", error)
        here.ledger.restore.marker_unreachable()
        _tell(here)
        return
    following = here.ledger.restore.verify_marker(marker)
    if following is not None:
        try:
            _in_time(lambda: write(archive, following))
        except (ArchiveError, ConfigurationError, TimeoutError) as error:
            log.warning("could not write the ledger's marker: %s", error)
    else:
        _tell(here)


def read(archive: Archive) -> Marker | None:
    """Return the marker, or None if there is none. Raises ArchiveError or ConfigurationError."""
    content = b""
    try:
        with archive.read(archive.keys.marker) as pieces:
            for piece in pieces:
                content += piece
                if len(content) > _LARGEST:
                    break
        return _parsed(content)
    except NotFound:
        return None
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ConfigurationError(
            f'"{archive.keys.marker}" in bucket "{archive.bucket}" is not a marker that this version of Darkroom can '
            "read: use a newer version, or find out who changed it"
        ) from error


def write(archive: Archive, marker: Marker) -> None:
    document = {
        "schema": _SCHEMA,
        "about": "A Darkroom ledger uses this to notice that it was restored from a backup. Do not delete it.",
        "ledger": marker.ledger,
        "number": marker.number,
        "changes": marker.changes,
        "at": marker.at.isoformat(),
    }
    content = f"{json.dumps(document, indent=2)}\n".encode()
    archive.overwrite(archive.keys.marker, content, content_type="application/json", metadata={})


def _tell(here: Services) -> None:
    if (gate := here.ledger.restore.state()) is not None and gate.complaint:
        log.error("%s", gate.complaint)


def _parsed(content: bytes) -> Marker:
    document: Any = json.loads(content)
    if document["schema"] != _SCHEMA:
        raise ValueError("another schema")
    at = datetime.fromisoformat(document["at"])
    return Marker(str(document["ledger"]), int(document["number"]), int(document["changes"]), at)


def _in_time(call: Callable[[], T]) -> T:
    """Run `call` in a thread, because a hanging store takes most of a minute to fail. Raises TimeoutError."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except Exception as error:  # noqa: BLE001  whatever it is, the waiting caller gets it
            done.set_exception(error)

    threading.Thread(target=run, name="marker", daemon=True).start()
    try:
        return done.result(timeout=PATIENCE)
    except TimeoutError:
        raise TimeoutError(f"it did not answer within {PATIENCE:g} s") from None
