"""Files that get their final name only when complete."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from worker.errors import ConfigurationError

#: names of incomplete files, in the folder of the complete one
PART_PREFIX, PART_SUFFIX = ".darkroom-", ".part"


class FileExists(ConfigurationError):
    """Another file has that name; it was left unchanged."""


@contextmanager
def new_file(path: Path, *, replace: bool = False) -> Iterator[IO[bytes]]:
    """Yield a file to write; it gets its name at the end, and is removed after an error.

    Raises FileExists unless `replace`, and ConfigurationError if it cannot be written.
    """
    part = path.parent / f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}"
    with _refusals(path):
        if not replace and os.path.lexists(path):
            raise FileExistsError
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        # Not tempfile: its files are readable only by their owner.
        file = part.open("xb")
    try:
        with file:
            yield file
            with _refusals(path):
                file.flush()
                os.fsync(file.fileno())
        with _refusals(path):
            if replace:
                part.replace(path)
            else:
                _publish(part, path)
    finally:
        with suppress(OSError):
            part.unlink()


def _publish(part: Path, path: Path) -> None:
    """Give the file its name. Raises FileExistsError if the name has been taken."""
    try:
        path.hardlink_to(part)
    except FileExistsError:
        raise
    except OSError:
        # This file system has no hard links.
        if os.path.lexists(path):
            raise FileExistsError from None
        part.rename(path)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise FileExists(f"{path} already exists, and was left unchanged") from error
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror or error}") from error
