"""Reads our own copy of an image to make a thumbnail."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

from worker.archive import Archive
from worker.generation import Asset
from worker.media import Thumbnail, thumbnail

#: pixels of a thumbnail's longer side
EDGE = 320
#: bytes of a file that is kept in memory
_MEMORY_PART = 4 * 1024 * 1024


class Changed(Exception):
    """The object's bytes differ from those that were stored."""


def thumbnail_of(archive: Archive, asset: Asset) -> Thumbnail | None:
    """Make a thumbnail of a stored asset; None for what is not an image.

    Raises Changed, NotFound or ContentInvalid if a retry is pointless; ArchiveError, ConfigurationError or
    DownloadError if a retry may help.
    """
    with _read(archive, asset) as file:
        return thumbnail(file, str(asset.content_type), EDGE)


@contextmanager
def _read(archive: Archive, asset: Asset) -> Iterator[IO[bytes]]:
    digest = hashlib.sha256()
    file: IO[bytes]
    with SpooledTemporaryFile(_MEMORY_PART) as file:
        with archive.read(str(asset.object_key)) as pieces:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != asset.sha256:
            raise Changed(f'"{asset.object_key}" has different bytes than were stored')
        yield file
