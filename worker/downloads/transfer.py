"""The bytes of one download: counted, hashed, and resumed after a broken connection."""

import hashlib
import http.client
import re
import zlib
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile

from worker.errors import ContentInvalid

#: bytes; smaller downloads stay in memory
MEMORY_PART = 1024 * 1024

_PIECE = 64 * 1024
_GZIP = b"\x1f\x8b"
#: content codings that are decoded
_INFLATED = frozenset({"gzip", "x-gzip", "deflate"})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19})")


class Interrupted(Exception):
    """The connection ended in the middle of the file; repeating the request resumes it or starts over."""


class Transfer:
    """The received part of a file; must be closed. `limit`: bytes, both on the wire and decoded."""

    def __init__(self, limit: int) -> None:
        self.file = SpooledTemporaryFile(MEMORY_PART)  # noqa: SIM115  outlives any `with` block
        self.declared_type: str | None = None
        #: the server's codings that are not decoded here
        self.coding: str | None = None
        #: bytes of the file so far
        self.size = 0
        self._limit = limit
        self._came = 0
        self._total: int | None = None
        self._version: str | None = None
        self._digest = hashlib.sha256()
        self._inflation: _Inflation | None = None

    def close(self) -> None:
        self.file.close()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def request_headers(self) -> dict[str, str]:
        """Return the headers that request only the rest, and only if the version is the same (RFC 9110, 13.1.5)."""
        if not self._came or self._version is None:
            return {}
        return {"Range": f"bytes={self._came}-", "If-Range": self._version}

    def receive(self, response: http.client.HTTPResponse) -> None:
        """Receive the body of a response with status 200 or 206.

        Raises ContentInvalid (too large, truncated, damaged), Interrupted, and whatever reading raises.
        """
        if response.status == 206:
            self._check_rest(response)
        else:
            self._begin(response)
        try:
            # Take only what has arrived: if the connection broke, a partly filled buffer would be lost.
            while piece := response.read1(_PIECE):
                self._take(piece)
        except (OSError, http.client.HTTPException) as error:
            if self.can_go_on():
                raise Interrupted from error
            raise
        if self._total is not None and self._came != self._total:
            if self.can_go_on():
                raise Interrupted
            raise ContentInvalid(f"truncated: received {self._came:,} of {self._total:,} bytes")
        if self._inflation is not None:
            self._write(self._inflation.rest())

    def _begin(self, response: http.client.HTTPResponse) -> None:
        """Start from the first byte: the server cannot resume, or has another version now."""
        self.file.seek(0)
        self.file.truncate()
        self._digest = hashlib.sha256()
        self.size = self._came = 0
        self._total = response.length
        self.declared_type = response.getheader("Content-Type")
        self._check_size(self._total or 0)
        codings = {word.strip().lower() for word in response.getheader("Content-Encoding", "").split(",")}
        self._inflation = _Inflation() if codings & _INFLATED else None
        self.coding = ", ".join(sorted(codings - _INFLATED - {"", "identity"}))[:40] or None
        tag = response.getheader("ETag", "")
        strong = tag.startswith('"') and tag.isprintable()
        ranges = response.getheader("Accept-Ranges", "").lower() == "bytes"
        can_resume = strong and ranges and self._total is not None and self._inflation is None
        self._version = tag if can_resume else None
        if self._total is not None and self._total > MEMORY_PART:
            self.file.rollover()

    def _check_rest(self, response: http.client.HTTPResponse) -> None:
        """Raise Interrupted, in order to start over, if the rest may belong to another version or position."""
        found = _CONTENT_RANGE.fullmatch(response.getheader("Content-Range", ""))
        is_next = found is not None and (int(found[1]), int(found[2])) == (self._came, self._total)
        if not is_next or response.getheader("ETag") != self._version:
            self.forget_version()
            raise Interrupted

    def forget_version(self) -> None:
        """Start over: the server has another version now, or cannot resume."""
        self._version = None

    def _take(self, piece: bytes) -> None:
        self._came += len(piece)
        self._check_size(self._came)
        if self._inflation is None:
            self._write(piece)
            return
        for part in self._inflation.parts(piece):
            self._write(part)

    def _write(self, part: bytes) -> None:
        self.size += len(part)
        self._check_size(self.size)
        self._digest.update(part)
        self.file.write(part)

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            raise ContentInvalid(f"larger than the limit of {self._limit:,} bytes")

    def can_go_on(self) -> bool:
        """Return whether the rest can be requested separately."""
        return self._version is not None and 0 < self._came < (self._total or 0)


class _Inflation:
    """Decodes gzip or zlib in bounded parts if the bytes really are compressed; other bytes pass unchanged.

    The header alone is not enough: many stores send such a header with plain bytes.
    """

    def __init__(self) -> None:
        self._head = b""
        self._is_decided = False
        self._inflater: zlib._Decompress | None = None

    def parts(self, piece: bytes) -> Iterator[bytes]:
        """Yield decoded parts. Raises ContentInvalid for damaged data."""
        data = self._head + piece
        if not self._is_decided:
            self._head = data
            if len(data) < 2:
                return
            self._is_decided, self._head = True, b""
            self._inflater = _inflater_of(data)
        while self._inflater is not None and data:
            if self._inflater.eof:
                # Some programs append another gzip member, or zeros.
                data = data.lstrip(b"\0")
                if not data:
                    return
                if not data.startswith(_GZIP):
                    raise ContentInvalid("data after the end of its gzip stream")
                self._inflater = _inflater_of(data)
                continue
            try:
                part = self._inflater.decompress(data, _PIECE)
            except zlib.error as error:
                raise ContentInvalid(f"damaged: cannot decompress it ({error})") from error
            data = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            yield part
        if self._inflater is None:
            yield data

    def rest(self) -> bytes:
        """Return the remaining bytes. Raises ContentInvalid if the end is missing."""
        if self._inflater is not None and not self._inflater.eof:
            raise ContentInvalid("truncated: the end of its gzip stream is missing")
        return self._head


def _inflater_of(data: bytes) -> "zlib._Decompress | None":
    if data.startswith(_GZIP):
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    is_zlib = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
    return zlib.decompressobj() if is_zlib else None
