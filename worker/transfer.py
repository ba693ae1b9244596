"""The bytes of one download as they come in: counted, hashed, and gone on with where a broken connection left off."""

import hashlib
import http.client
import re
from tempfile import SpooledTemporaryFile

from worker.errors import ContentInvalid

#: bytes; a download this small never touches the disk
MEMORY_PART = 1024 * 1024

_PIECE = 256 * 1024
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19})")


class Interrupted(Exception):
    """The connection ended within the file, and the server can go on from there."""


class Transfer:
    """What has come of one file. `limit`: bytes."""

    def __init__(self, file: SpooledTemporaryFile[bytes], limit: int) -> None:
        self.file = file
        self.received = 0
        self.declared_type: str | None = None
        self._limit = limit
        self._total: int | None = None
        self._version: str | None = None
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def request_headers(self) -> dict[str, str]:
        """What asks for the rest only, and only of the same version of the file (RFC 9110, 13.1.5)."""
        if not self.received or self._version is None:
            return {}
        return {"Range": f"bytes={self.received}-", "If-Range": self._version}

    def receive(self, response: http.client.HTTPResponse) -> None:
        """Take the body of an answer with status 200 or 206.

        Raises ContentInvalid (too large, cut off, a rest that does not fit), Interrupted, and what reading raises.
        """
        if response.status == 206:
            self._check_rest(response.getheader("Content-Range", ""))
        else:
            self._begin(response)
        piece = memoryview(bytearray(_PIECE if self._total is None else max(1, min(_PIECE, self._total))))
        try:
            while count := response.readinto(piece):
                self._take(piece[:count])
        except (OSError, http.client.HTTPException) as error:
            if self._can_go_on():
                raise Interrupted from error
            raise
        if self._total is not None and self.received != self._total:
            if self._can_go_on():
                raise Interrupted
            raise ContentInvalid(f"truncated: {self.received:,} of {self._total:,} bytes came")

    def _begin(self, response: http.client.HTTPResponse) -> None:
        """From the first byte, which is what a server answers that cannot go on or has another version by now."""
        self.file.seek(0)
        self.file.truncate()
        self._digest = hashlib.sha256()
        self.received = 0
        self._total = response.length
        self.declared_type = response.getheader("Content-Type")
        self._check_size(self._total or 0)
        tag = response.getheader("ETag", "")
        strong = tag.startswith('"') and tag.isprintable()
        ranges = response.getheader("Accept-Ranges", "").lower() == "bytes"
        self._version = tag if strong and ranges and self._total is not None else None
        if self._total is not None and self._total > MEMORY_PART:
            self.file.rollover()

    def _check_rest(self, content_range: str) -> None:
        found = _CONTENT_RANGE.fullmatch(content_range)
        if not found or (int(found[1]), int(found[2])) != (self.received, self._total):
            raise ContentInvalid("the server goes on with another part than it was asked for")

    def _take(self, piece: memoryview) -> None:
        self.received += len(piece)
        self._check_size(self.received)
        self._digest.update(piece)
        self.file.write(piece)

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise ContentInvalid(f"larger than the {self._limit:,} bytes that are accepted")

    def _can_go_on(self) -> bool:
        return self._version is not None and 0 < self.received < (self._total or 0)
