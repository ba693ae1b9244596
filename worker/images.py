"""Is an image whole: the structure of PNG, JPEG and WebP files, read once from front to back without decoding."""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO

from worker.errors import ContentInvalid

#: chunks or segments in one file; a 64 MiB PNG of 8 kB chunks has 8,192
MAX_PARTS = 100_000

_PIECE = 256 * 1024

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_EOI, _SOI, _SOS = 0xD9, 0xD8, 0xDA
#: start of frame; C4, C8 and CC lie between them and mean other things
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: the first marker that ends a scan: neither a stuffed zero, nor a restart, nor fill
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class _Pieces:
    """A file read once from front to back in bounded memory; ContentInvalid when it ends too early."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._piece = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._piece):
            return b"".join(self.parts(count))
        self._at += count
        return self._piece[self._at - count : self._at]

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def parts(self, count: int) -> Iterator[memoryview]:
        while count:
            if self._at == len(self._piece):
                self._refill()
            part = memoryview(self._piece)[self._at : self._at + count]
            self._at += len(part)
            count -= len(part)
            yield part

    def skip(self, count: int) -> None:
        for _ in self.parts(count):
            pass

    def skip_until(self, pattern: re.Pattern[bytes]) -> None:
        """Stop in front of a two-byte match."""
        while not (found := pattern.search(self._piece, self._at)):
            # The match may lie across the border of two pieces.
            self._refill(keep=self._piece[-1:] if self._at < len(self._piece) else b"")
        self._at = found.start()

    def expect_end(self) -> None:
        if self._at < len(self._piece) or self._file.read(1):
            raise ContentInvalid(f"data follows after the end of the {self._name}: it may be two files in one")

    def _refill(self, keep: bytes = b"") -> None:
        more = self._file.read(_PIECE)
        if not more:
            raise ContentInvalid(f"the {self._name} is cut off: its end is missing")
        self._piece = keep + more
        self._at = 0


_PNG_CHUNK = struct.Struct(">I4s")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")
_RIFF_CHUNK = struct.Struct("<4sI")


def png(file: IO[bytes]) -> tuple[int, int]:
    """Width and height of a PNG whose chunks all have the checksum that they state; raises ContentInvalid."""
    pieces = _Pieces(file, "PNG")
    pieces.skip(len(_PNG_SIGNATURE))
    width = height = 0
    has_pixels = False
    for number in range(MAX_PARTS):
        length, kind = _PNG_CHUNK.unpack(pieces.take(_PNG_CHUNK.size))
        if (number == 0) != (kind == b"IHDR"):
            raise ContentInvalid("the PNG does not have exactly one IHDR chunk, at its beginning")
        checksum = zlib.crc32(kind)
        if kind == b"IHDR":
            if length != 13:
                raise ContentInvalid(f"the PNG's IHDR chunk has {length} bytes instead of 13")
            header = pieces.take(length)
            width, height = struct.unpack_from(">II", header)
            checksum = zlib.crc32(header, checksum)
        else:
            for part in pieces.parts(length):
                checksum = zlib.crc32(part, checksum)
        if pieces.unpack(_U32) != (checksum,):
            raise ContentInvalid(f"the PNG is damaged: the checksum of its chunk {number} ({kind!r}) is wrong")
        has_pixels = has_pixels or (kind == b"IDAT" and length > 0)
        if kind == b"acTL":
            raise ContentInvalid("the PNG is animated; only still images are accepted")
        if kind == b"IEND":
            if length or not has_pixels:
                raise ContentInvalid("the PNG has no pixels, or data in its IEND chunk")
            pieces.expect_end()
            return width, height
    raise ContentInvalid(f"the PNG has more than {MAX_PARTS:,} chunks")


def jpeg(file: IO[bytes]) -> tuple[int, int]:
    """Width and height of a JPEG with whole segments and an end; its pixels have no checksum. Raises ContentInvalid."""
    pieces = _Pieces(file, "JPEG")
    pieces.skip(2)
    size: tuple[int, int] | None = None
    has_pixels = False
    for _ in range(MAX_PARTS):
        marker = _jpeg_marker(pieces)
        if marker == _EOI:
            if size is None or not has_pixels:
                raise ContentInvalid("the JPEG ends without a dimension or without pixels")
            pieces.expect_end()
            return size
        (length,) = pieces.unpack(_U16)
        if length < 2 or marker == _SOI:
            raise ContentInvalid(f"the JPEG is damaged: segment FF{marker:02X} cannot stand where it does")
        segment = length - 2
        if marker in _SOF:
            if size is not None or segment < 6:
                raise ContentInvalid("the JPEG states its dimensions twice or not fully")
            height, width = struct.unpack_from(">HH", pieces.take(6), 1)
            size = (width, height)
            segment -= 6
        pieces.skip(segment)
        if marker == _SOS:
            has_pixels = True
            pieces.skip_until(_NEXT_MARKER)
    raise ContentInvalid(f"the JPEG has more than {MAX_PARTS:,} segments")


def _jpeg_marker(pieces: _Pieces) -> int:
    if pieces.take(1) != b"\xff":
        raise ContentInvalid("the JPEG is damaged: a segment does not begin with FF")
    for _ in range(MAX_PARTS):
        (code,) = pieces.take(1)
        if code != 0xFF:
            return code
    raise ContentInvalid("the JPEG is damaged: it holds nothing but fill bytes")


def webp(file: IO[bytes], size: int) -> tuple[int, int]:
    """Width and height of a WebP of `size` bytes whose chunks fill it; raises ContentInvalid."""
    pieces = _Pieces(file, "WebP")
    _, stated, _ = struct.unpack("<4sI4s", pieces.take(12))
    if stated + 8 != size:
        raise ContentInvalid(f"the WebP is cut off or has data after its end: it states {stated + 8} bytes of {size}")
    left = stated - 4
    canvas: tuple[int, int] | None = None
    picture: tuple[int, int] | None = None
    for _ in range(MAX_PARTS):
        if not left:
            break
        kind, length = _RIFF_CHUNK.unpack(pieces.take(_RIFF_CHUNK.size))
        padded = length + length % 2
        left -= _RIFF_CHUNK.size + padded
        if left < 0:
            raise ContentInvalid(f"the WebP is damaged: its chunk {kind!r} is longer than the file")
        if kind == b"ANIM":
            raise ContentInvalid("the WebP is animated; only still images are accepted")
        if kind in {b"VP8X", b"VP8 ", b"VP8L"}:
            body = pieces.take(min(padded, 10))
            dimensions = _webp_dimensions(kind, body)
            padded -= len(body)
            if kind == b"VP8X":
                canvas = dimensions
            else:
                picture = dimensions
        pieces.skip(padded)
    if left or picture is None or (canvas or picture) != picture:
        raise ContentInvalid("the WebP holds no still image of the size that it states")
    return picture


def _webp_dimensions(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(body) == 10 and body[0] & 1 == 0 and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise ContentInvalid(f"the WebP is damaged: its {kind!r} chunk does not begin with a picture")
