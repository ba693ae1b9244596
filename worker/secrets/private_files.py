"""Private files and folders: readable only by their owner, whatever the umask, and never another user's.

In shared folders like /tmp, other users could place a symbolic link or a file under our file names.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

#: for every process that we start, because libraries and other programs create files too
UMASK = 0o077
_FILE, _FOLDER = 0o600, 0o700


def open_private(path: str | os.PathLike[str], flags: int) -> int:
    """Open a private file; works as the `opener` of `open`. Raises OSError for a link or another user's file."""
    try:
        # O_NONBLOCK, or opening a pipe that somebody put there would wait for its other end.
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _FILE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _linked(path) from error
        raise
    try:
        found = os.fstat(descriptor)
        _require_owner(path, found)
        if stat.S_IMODE(found.st_mode) != _FILE:
            with suppress(OSError):  # on a read-only disk
                os.fchmod(descriptor, _FILE)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def require_private(path: Path) -> None:
    """Raise OSError for a link or another user's file, before a library opens it; a missing file is fine."""
    with suppress(FileNotFoundError, NotADirectoryError):
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise _linked(path)
        _require_owner(path, found)


def make_private_folder(path: Path) -> None:
    """Create a private folder and its missing parents; leave an existing folder unchanged."""
    try:
        path.mkdir(mode=_FOLDER, exist_ok=True)
    except FileNotFoundError:
        # mkdir's `parents` would make them readable by everybody.
        make_private_folder(path.parent)
        path.mkdir(mode=_FOLDER, exist_ok=True)


def _require_owner(path: str | os.PathLike[str], found: os.stat_result) -> None:
    if found.st_uid != os.geteuid():
        why = f"it belongs to another user (number {found.st_uid}, this is {os.geteuid()}), who may have put it there"
        raise PermissionError(errno.EPERM, why, os.fspath(path))


def _linked(path: str | os.PathLike[str]) -> OSError:
    return OSError(errno.ELOOP, "it is a symbolic link; links are not followed", os.fspath(path))
