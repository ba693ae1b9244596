"""A copy of a SQLite ledger: in a private temporary folder, made by SQLite itself while others write."""

import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from worker.errors import ConfigurationError
from worker.ledger.database import BUSY_SECONDS
from worker.ledger.rehearsal.copies import ROOM, Copy, require_room
from worker.secrets import require_private

_PREFIX = "darkroom-rehearsal-"
_NAME = "ledger.sqlite3"
#: copied between two progress reports
_PAGES = 4096


class SqliteOriginal:
    def __init__(self, file: Path) -> None:
        self._file = file

    def revision(self) -> str:
        with self._opened() as connection:
            try:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            except sqlite3.OperationalError as error:
                raise self._unreadable(error) from error
        return str(row[0])

    @contextmanager
    def copied(self, progress: Callable[[float], None]) -> Iterator[Copy]:
        parent = Path(tempfile.gettempdir())
        _remove_left_behind(parent)
        with _private_folder() as folder:
            began = time.monotonic()
            target = folder / _NAME
            size = self._copy(target, progress)
            yield Copy(f"sqlite:///{target}", str(folder), size, time.monotonic() - began)

    def _copy(self, target: Path, progress: Callable[[float], None]) -> int:
        """Return the size in bytes."""

        def told(_: int, remaining: int, total: int) -> None:
            progress(1 - remaining / max(total, 1))

        with self._opened() as original:
            size = _size(original)
            free = shutil.disk_usage(target.parent).free
            require_room(ROOM * size, free, f"in {target.parent.parent}", "set TMPDIR to a folder with more room")
            try:
                with closing(sqlite3.connect(target)) as copy:
                    # A snapshot: commits of others do not restart the copy, and the read lock blocks nobody except
                    # those who would truncate the log.
                    original.execute("BEGIN")
                    original.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                    original.backup(copy, pages=_PAGES, progress=told)
            except sqlite3.Error as error:
                raise ConfigurationError(f"the ledger cannot be copied to {target.parent}: {error}") from error
        return size

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            require_private(self._file)
            uri = f"file:{quote(str(self._file.absolute()))}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_SECONDS)) as connection:
                yield connection
        except OSError as error:
            raise ConfigurationError(f"the ledger cannot be opened: {error.strerror}: {error.filename}") from error
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> ConfigurationError:
        return ConfigurationError(f"{self._file} cannot be read as a ledger: {error}; check DATABASE_URL")


def _size(connection: sqlite3.Connection) -> int:
    page, pages = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count"))
    return int(page) * int(pages)


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A private folder, locked while the process lives, so that later processes can recognize abandoned ones."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(descriptor)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind(parent: Path) -> None:
    """Remove the copies of killed rehearsals."""
    for folder in parent.glob(f"{_PREFIX}*"):
        # A folder that is still empty may be about to be locked.
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_uid == os.geteuid() and any(folder.iterdir()):
                    shutil.rmtree(folder)
            finally:
                os.close(descriptor)
