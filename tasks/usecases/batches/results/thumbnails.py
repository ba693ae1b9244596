"""Thumbnails of stored images, made from the objects in the bucket while the contact sheet is written."""

import base64
import math
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from tasks.stored_images import Changed, thumbnail_of
from tasks.usecases.audit import GIVE_UP
from worker.archive import Archive
from worker.errors import ArchiveError, ContentInvalid, DownloadError, NotFound
from worker.generation import Asset, AssetState

#: bytes of all thumbnails in one file, as base64: browsers open this quickly, and mail accepts no more
_MOST_BYTES = 50 * 1024 * 1024
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """`data`: a `data:` link; None, and `missing` says why, if there is none."""

    data: str | None
    missing: str = ""


_NO_IMAGE = Thumbnail(None)
_WHY: dict[type[Exception], str] = {Changed: "changed in the bucket", NotFound: "missing in the bucket"}


class Thumbnails:
    """Makes them in threads, in a `with` block. `left_out`: how many did not fit or could not be made."""

    def __init__(self, archive: Archive, within: timedelta | None = None) -> None:
        """`within`: no thumbnail is begun after this time."""
        self._archive = archive
        self._ends = math.inf if within is None else time.monotonic() + within.total_seconds()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="thumbnail")
        self._room = _MOST_BYTES
        self.left_out = 0
        #: consecutive images that could not be read
        self._in_a_row = 0

    def begin(self, assets: Sequence[Asset]) -> "list[tuple[Asset, Future[Thumbnail]]]":
        """Begin making thumbnails of the stored assets."""
        there = [one for one in assets if one.state is AssetState.STORED and one.object_key]
        return [(one, self._pool.submit(self._make, one)) for one in there]

    def take(self, made: "Future[Thumbnail]") -> Thumbnail:
        """Wait for a thumbnail. Raises ArchiveError if the bucket cannot be read."""
        found = made.result()
        self._room -= len(found.data or "")
        self.left_out += found is not _NO_IMAGE and found.data is None
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _make(self, asset: Asset) -> Thumbnail:
        if not (asset.content_type or "").startswith("image/"):
            return _NO_IMAGE
        if self._room <= 0 or time.monotonic() > self._ends:
            return Thumbnail(None, "no room for more thumbnails")
        try:
            small = thumbnail_of(self._archive, asset)
        except ArchiveError as error:
            return self._unread(error)
        except (Changed, NotFound, ContentInvalid, DownloadError) as error:
            return Thumbnail(None, _WHY.get(type(error), "no thumbnail could be made"))
        self._in_a_row = 0
        if small is None:
            return _NO_IMAGE
        return Thumbnail(f"data:image/webp;base64,{base64.b64encode(small.webp).decode()}")

    def _unread(self, error: ArchiveError) -> Thumbnail:
        self._in_a_row += 1
        if self._in_a_row >= GIVE_UP:
            raise error
        return Thumbnail(None, "could not be read")
