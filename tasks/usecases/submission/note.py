"""Notes of submissions in progress, so that repeating an interrupted command completes it.

A note is an empty file `submissions/ID` in the data folder; the ID contains the start time and a digest of the request.
The process holds a lock on it that ends with the process: a note without a lock is an interrupted submission.
"""

import contextlib
import errno
import fcntl
import os
import re
import secrets
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from worker.errors import ConfigurationError
from worker.secrets import make_private_folder, open_private

KEPT = timedelta(hours=24)
#: file name prefix of a note that is not locked yet
_UNNAMED = ".note-"
_ID = re.compile(r"sub_(?P<milliseconds>0[0-9a-f]{11})[0-9a-f]{16}_(?P<digest>[0-9a-f]{16})")


def new_submission_id(digest: str) -> str:
    """Return a new ID for `digest`, 16 hexadecimal digits of the request, which `digest_in` returns."""
    return f"sub_{int(time.time() * 1000):012x}{secrets.token_hex(8)}_{digest}"


def digest_in(submission_id: str) -> str | None:
    """Return the digest in an ID; None if it is not a submission ID."""
    found = _ID.fullmatch(submission_id)
    return found["digest"] if found else None


class Note:
    """A note locked by this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @property
    def submission_id(self) -> str:
        return self._path.name

    @property
    def began_at(self) -> datetime:
        return _began_at(self._path)

    def remove(self) -> None:
        # If it cannot be removed, it expires soon.
        with contextlib.suppress(OSError):
            self._path.unlink()

    def close(self) -> None:
        """Unlock the note; unless it was removed, it counts as interrupted from now on."""
        os.close(self._descriptor)


def write_note(data: Path, submission_id: str) -> Note:
    """Create and lock a note. Raises OSError if it cannot be stored."""
    folder = _folder(data)
    make_private_folder(folder)
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=_UNNAMED)  # made with mode 0600
    try:
        # Lock it before others can find it by name and take it for an interrupted one.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Path(temporary).rename(folder / submission_id)
        _sync(folder)
    except OSError:
        os.close(descriptor)
        Path(temporary).unlink(missing_ok=True)
        raise
    return Note(folder / submission_id, descriptor)


def interrupted_note(data: Path, digest: str) -> Note | None:
    """Lock the oldest note of an interrupted submission with the same request.

    Raises ConfigurationError if one cannot be opened, so that its state is unknown.
    """
    for path in _of_the_same(data, digest):
        try:
            descriptor = _locked(path)
        except OSError as error:
            raise ConfigurationError(
                f"the same request was submitted at {told_time(_began_at(path))}; cannot tell whether it was "
                f"interrupted: {path}: {error.strerror}. To complete it: --submission {path.name}; to submit it again: "
                "--new"
            ) from error
        if descriptor is not None:
            return Note(path, descriptor)
    return None


def remove_interrupted_notes(data: Path, digest: str) -> None:
    for path in _of_the_same(data, digest):
        _remove_unheld(path)


def hold_note(data: Path, submission_id: str) -> Note | None:
    """Lock and return this submission's note, unless there is none or another process holds it."""
    with contextlib.suppress(OSError):
        path = _folder(data) / submission_id
        if (descriptor := _locked(path)) is not None:
            return Note(path, descriptor)
    return None


def remove_old_notes(data: Path) -> None:
    """Remove expired notes, and leftovers of notes that never got their final name."""
    with contextlib.suppress(OSError):
        for path in _folder(data).iterdir():
            is_note = path.name.startswith(_UNNAMED) or digest_in(path.name)
            if is_note and _age(path) > KEPT:
                _remove_unheld(path)


def told_time(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _of_the_same(data: Path, digest: str) -> list[Path]:
    """Return the notes with this digest, oldest first: the IDs begin with the time."""
    found = sorted(_folder(data).glob(f"sub_*_{digest}"))
    return [path for path in found if digest_in(path.name) == digest and _age(path) <= KEPT]


def _remove_unheld(path: Path) -> None:
    with contextlib.suppress(OSError):
        if (descriptor := _locked(path)) is not None:
            note = Note(path, descriptor)
            note.remove()
            note.close()


def _folder(data: Path) -> Path:
    return data / "submissions"


def _locked(path: Path) -> int | None:
    """Lock the note; None if another process is working on it or has just completed it."""
    try:
        descriptor = open_private(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = os.fstat(descriptor).st_nlink > 0
    except OSError as error:
        os.close(descriptor)
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return None
        raise
    if not is_ours:
        os.close(descriptor)
    return descriptor if is_ours else None


def _age(path: Path) -> timedelta:
    began = _began_at(path) if digest_in(path.name) else datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return datetime.now(UTC) - began


def _began_at(path: Path) -> datetime:
    found = _ID.fullmatch(path.name)
    assert found  # noqa: S101 - nothing else gets here
    return datetime.fromtimestamp(int(found["milliseconds"], 16) / 1000, UTC)


def _sync(folder: Path) -> None:
    """Sync the folder, so that a power failure cannot lose the note but keep the rows."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
