"""Fetches one object into its file: verified while it is written, and never overwriting another file."""

import hashlib
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tasks.usecases.batches.download.plan import Wanted
from tasks.usecases.batches.new_file import PART_PREFIX, PART_SUFFIX, FileExists, new_file
from worker.archive import Archive
from worker.errors import ArchiveError, ConfigurationError, NotFound

#: tries for an object whose transfer is interrupted
_TRIES = 3
#: seconds after which an incomplete file counts as a leftover of a killed download
_LEFT_OVER = 3600


class Status(StrEnum):
    DOWNLOADED = "downloaded"
    #: it was already there, with the right bytes
    PRESENT = "present"
    #: another file has its name
    LEFT = "left"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Fetched:
    """`why`: in words, if it was neither downloaded nor present."""

    wanted: Wanted
    status: Status
    why: str = ""


class Fetcher:
    """Fetches objects; thread-safe."""

    def __init__(self, archive: Archive, folder: Path) -> None:
        self._archive, self._folder = archive, folder
        self._seen: set[Path] = set()

    def fetch(self, wanted: Wanted) -> Fetched:
        path = self._folder / wanted.name
        try:
            if path.is_symlink() or path.exists():
                return _compared(path, wanted)
            self._prepare(path.parent)
            return self._download(path, wanted)
        except FileExists:
            # The file has appeared in the meantime.
            return _compared(path, wanted)
        except (ArchiveError, ConfigurationError, NotFound) as error:
            return Fetched(wanted, Status.FAILED, str(error))
        except OSError as error:
            return Fetched(wanted, Status.FAILED, f"{path}: {error.strerror or error}")

    def _download(self, path: Path, wanted: Wanted) -> Fetched:
        for left in reversed(range(_TRIES)):
            try:
                self._write(path, wanted)
            except FileExists:
                raise
            except ArchiveError:
                if not left:
                    raise
                time.sleep(random.uniform(0, 2 ** (_TRIES - left) / 4))
            else:
                break
        return Fetched(wanted, Status.DOWNLOADED)

    def _write(self, path: Path, wanted: Wanted) -> None:
        key, digest = str(wanted.asset.object_key), hashlib.sha256()
        with self._archive.read(key) as pieces, new_file(path) as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            if digest.hexdigest() != wanted.asset.sha256:
                raise _Changed(
                    f'"{key}" has different bytes than were stored: SHA-256 {digest.hexdigest()}, not '
                    f"{wanted.asset.sha256}; see `darkroom verify`"
                )

    def _prepare(self, folder: Path) -> None:
        if folder in self._seen:
            return
        folder.mkdir(parents=True, exist_ok=True)
        self._seen.add(folder)
        for part in folder.glob(f"{PART_PREFIX}*{PART_SUFFIX}"):
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > _LEFT_OVER:
                    part.unlink()


class _Changed(ConfigurationError):
    """The object is not what was stored; a retry would return the same bytes."""


def _compared(path: Path, wanted: Wanted) -> Fetched:
    try:
        is_the_same = (
            path.is_file() and path.stat().st_size == wanted.asset.bytes and _sha256(path) == wanted.asset.sha256
        )
    except OSError as error:
        return Fetched(wanted, Status.LEFT, f"it cannot be read: {error.strerror or error}")
    return Fetched(
        wanted, Status.PRESENT if is_the_same else Status.LEFT, "" if is_the_same else "a different file is there"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
