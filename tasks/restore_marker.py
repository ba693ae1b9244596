"""The marker of the ledger in the bucket, by which a ledger that was restored from a backup finds out that it is old.

Asked for before something is submitted and by the clock, every `EVERY` at most. A bucket that is away, or slow, stops
nothing where a ledger is at work: the comparison is made up for when it is back, because a ledger's number does not
rise without one. A ledger that was not at work before waits for it.
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
    """Compare the ledger with its marker in the bucket and raise both, unless somebody has done it just now."""
    if not here.ledger.restore.is_check_due():
        return
    try:
        archive = here.archive
        marker = _in_time(lambda: read(archive))
    except (ArchiveError, ConfigurationError, TimeoutError) as error:
        log.warning("whether the ledger was restored from a backup is not known now: %s", error)
        here.ledger.restore.marker_unreachable()
        _tell(here)
        return
    following = here.ledger.restore.verify_marker(marker)
    if following is not None:
        try:
            _in_time(lambda: write(archive, following))
        except (ArchiveError, ConfigurationError, TimeoutError) as error:
            log.warning("the ledger's marker is not written now: %s", error)
    else:
        _tell(here)


def read(archive: Archive) -> Marker | None:
    """None if there is none. Raises ArchiveError or ConfigurationError."""
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
            f'"{archive.keys.marker}" in bucket "{archive.bucket}" is no marker that this version of Darkroom can '
            "read: use a newer version, or look at who has changed it"
        ) from error


def write(archive: Archive, marker: Marker) -> None:
    document = {
        "schema": _SCHEMA,
        "about": "By this a Darkroom ledger notices that it was restored from a backup. Do not delete it.",
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
    """In a thread of its own: a store that hangs takes most of a minute to fail. Raises TimeoutError."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except Exception as error:  # noqa: BLE001  whatever it is, it belongs to who waits
            done.set_exception(error)

    threading.Thread(target=run, name="marker", daemon=True).start()
    try:
        return done.result(timeout=PATIENCE)
    except TimeoutError:
        raise TimeoutError(f"it did not answer within {PATIENCE:g} s") from None
