"""Checks that an image is complete: reads the structure of PNG, JPEG, WebP and GIF files once, without decoding.

Faults outside the image (bytes after its end, a damaged text chunk) become a remark, not an error: it was paid for.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

from worker.errors import ContentInvalid

#: chunks or segments in one file; a 64 MiB PNG of 8 kB chunks has 8,192
MAX_PARTS = 100_000
#: data blocks in one GIF, each of at most 255 bytes: 64 MiB have 263,000
MAX_BLOCKS = 500_000
#: pixels of a JPEG times its scans: each scan makes a decoder go over all of them; a progressive one has about 10
MAX_SCANNED = 2_000_000_000
#: frames in one animation
MAX_FRAMES = 10_000

#: bytes read at once
PIECE = 256 * 1024

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})
#: of an animation
_PNG_FRAMES = frozenset({b"acTL", b"fcTL", b"fdAT"})
#: samples of a pixel by colour type
_PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
#: bytes of pixels to inflate on trial: takes 0.2 ms, where a whole image takes 10
_PNG_TRIED = 64 * 1024
#: what deflate can make at most of one byte is 1,032 (RFC 1951: 258 bytes of 2 bits)
_MOST_INFLATED = 1040
#: damaged kinds of chunks that a remark names
_MOST_NAMED = 5

_EOI, _SOI, _SOS, _APP2 = 0xD9, 0xD8, 0xDA, 0xE2
#: start of frame; C4, C8 and CC lie between them and mean other things
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: the first marker that ends a scan: neither a stuffed zero, nor a restart, nor fill
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


class Seen(NamedTuple):
    """Facts from the structure of a file."""

    width: int
    height: int
    #: length of a video; None if there is none or the file does not contain it
    seconds: float | None = None
    #: what is unusual about a complete file
    remark: str | None = None


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

    def rest(self, size: int) -> int:
        """How many bytes follow in a file of that size."""
        return size - self._file.tell() + len(self._piece) - self._at

    def _refill(self, keep: bytes = b"") -> None:
        more = self._file.read(PIECE)
        if not more:
            raise ContentInvalid(f"the {self._name} is truncated: its end is missing")
        self._piece = keep + more
        self._at = 0


_PNG_CHUNK = struct.Struct(">I4s")
_U32 = struct.Struct(">I")
_U16 = struct.Struct(">H")
_RIFF_CHUNK = struct.Struct("<4sI")
#: position, size, duration and flags of a frame, before its image
_ANMF_HEADER = 16
_GIF_SCREEN = struct.Struct("<6xHHB2x")
_GIF_FRAME = struct.Struct("<8xB")
_GIF_IMAGE, _GIF_EXTENSION, _GIF_END = b",", b"!", b";"


def trailing(count: int, name: str) -> str | None:
    """The remark about bytes after the end of a file; None if there are none."""
    return (
        f"{count:,} {'byte follows' if count == 1 else 'bytes follow'} after the end of the {name}" if count else None
    )


def png(file: IO[bytes], size: int) -> Seen:
    """Return width, height and a remark of a PNG, animated or not, after checking the checksums of all its pixels.

    Raises ContentInvalid.
    """
    pieces = _Pieces(file, "PNG")
    pieces.skip(len(_PNG_SIGNATURE))
    pixels = _png_header(pieces)
    damaged: set[str] = set()
    for number in range(1, MAX_PARTS):
        length, kind = _PNG_CHUNK.unpack(pieces.take(_PNG_CHUNK.size))
        if kind == b"IHDR":
            raise ContentInvalid("the PNG has a second IHDR chunk")
        checksum = zlib.crc32(kind)
        for part in pieces.parts(length):
            checksum = zlib.crc32(part, checksum)
            if kind == b"IDAT":
                pixels.take(part)
        if pieces.unpack(_U32) != (checksum,):
            if not _is_beside_the_picture(kind):
                raise ContentInvalid(f"the PNG is damaged: the checksum of its chunk {number} ({kind!r}) is wrong")
            damaged.add(kind.decode())
        if kind == b"IEND":
            if length or not pixels.compressed:
                raise ContentInvalid("the PNG has no pixels, or data in its IEND chunk")
            pixels.check()
            remarks: list[str | None] = [
                f"the checksum of a {kind} chunk is wrong" for kind in sorted(damaged)[:_MOST_NAMED]
            ]
            remarks.append(trailing(pieces.rest(size), "PNG"))
            return Seen(pixels.width, pixels.height, remark="; ".join(filter(None, remarks)) or None)
    raise ContentInvalid(f"the PNG has more than {MAX_PARTS:,} chunks")


def _png_header(pieces: _Pieces) -> "_PngPixels":
    length, kind = _PNG_CHUNK.unpack(pieces.take(_PNG_CHUNK.size))
    if kind != b"IHDR" or length != 13:
        raise ContentInvalid("the PNG does not begin with an IHDR chunk of 13 bytes")
    header = pieces.take(length)
    if pieces.unpack(_U32) != (zlib.crc32(kind + header),):
        raise ContentInvalid("the PNG is damaged: the checksum of its header is wrong")
    return _PngPixels(header)


def _is_beside_the_picture(kind: bytes) -> bool:
    """Return whether viewers may ignore the chunk; one flipped bit turns a chunk with pixels into "iDAT"."""
    is_ancillary = kind.isalpha() and kind[:1].islower()
    return is_ancillary and kind.upper() not in _PNG_CRITICAL and kind not in _PNG_FRAMES


class _PngPixels:
    """A cheap check of the pixels: their beginning inflates, and there are enough of them."""

    def __init__(self, header: bytes) -> None:
        self.width, self.height, depth, colour = struct.unpack_from(">IIBB", header)
        self.compressed = 0
        self._needed = self.width * depth * _PNG_SAMPLES.get(colour, 1) // 8 * self.height
        self._inflate = zlib.decompressobj()
        self._inflated = 0

    def take(self, part: memoryview) -> None:
        self.compressed += len(part)
        if self._inflated >= _PNG_TRIED or self._inflate.eof:
            return
        try:
            self._inflated += len(self._inflate.decompress(part, _PNG_TRIED))
        except zlib.error as error:
            raise ContentInvalid("the PNG is damaged: its pixels do not inflate") from error

    def check(self) -> None:
        is_short = self._inflate.eof and self._inflated < self._needed
        if is_short or self.compressed * _MOST_INFLATED < self._needed:
            raise ContentInvalid(f"the PNG has less data than {self.width} x {self.height} pixels need")


def jpeg(file: IO[bytes], size: int) -> Seen:
    """Return width, height and a remark of a JPEG with complete segments and an end; its pixels have no checksum.

    A gain map or image after the first one, as in Ultra HDR and MPO files, is a remark. Raises ContentInvalid.
    """
    pieces = _Pieces(file, "JPEG")
    pieces.skip(2)
    sides: tuple[int, int] | None = None
    scans = 0
    has_index = False
    for _ in range(MAX_PARTS):
        marker = _jpeg_marker(pieces)
        if marker == _EOI:
            if sides is None or not scans:
                raise ContentInvalid("the JPEG ends without a dimension or without pixels")
            return Seen(*sides, remark=_jpeg_remark(pieces.rest(size), has_index=has_index))
        (length,) = pieces.unpack(_U16)
        if length < 2 or marker == _SOI:
            raise ContentInvalid(f"the JPEG is damaged: segment FF{marker:02X} is not allowed there")
        segment = length - 2
        if marker in _SOF:
            if sides is not None or segment < 6:
                raise ContentInvalid("the JPEG has incomplete or duplicate dimensions")
            height, width = struct.unpack_from(">HH", pieces.take(6), 1)
            sides = (width, height)
            segment -= 6
        elif marker == _APP2 and segment >= 4:
            has_index |= pieces.take(4) == b"MPF\0"
            segment -= 4
        pieces.skip(segment)
        if marker == _SOS:
            scans += 1
            if sides and scans > 1 and scans * sides[0] * sides[1] > MAX_SCANNED:
                raise ContentInvalid(f"the JPEG has {sides[0]} x {sides[1]} pixels in more than {scans - 1} scans")
            pieces.skip_until(_NEXT_MARKER)
    raise ContentInvalid(f"the JPEG has more than {MAX_PARTS:,} segments")


def _jpeg_remark(rest: int, *, has_index: bool) -> str | None:
    remark = trailing(rest, "JPEG")
    index = ", where its index (MPF) has a gain map or another image"
    return remark + index if remark and has_index else remark


def _jpeg_marker(pieces: _Pieces) -> int:
    if pieces.take(1) != b"\xff":
        raise ContentInvalid("the JPEG is damaged: a segment does not begin with FF")
    for _ in range(MAX_PARTS):
        (code,) = pieces.take(1)
        if code != 0xFF:
            return code
    raise ContentInvalid("the JPEG is damaged: it contains only fill bytes")


def webp(file: IO[bytes], size: int) -> Seen:
    """Return width, height and a remark of a WebP, animated or not, of `size` bytes; raises ContentInvalid."""
    pieces = _Pieces(file, "WebP")
    _, stated, _ = struct.unpack("<4sI4s", pieces.take(12))
    if stated + 8 > size:
        raise ContentInvalid(f"the WebP is truncated: its header has {stated + 8} bytes, the file {size}")
    left = stated - 4
    canvas: tuple[int, int] | None = None
    picture: tuple[int, int] | None = None
    frames = 0
    for _ in range(MAX_PARTS):
        if left <= 0:
            break
        kind, length = _RIFF_CHUNK.unpack(pieces.take(_RIFF_CHUNK.size))
        padded = length + length % 2
        left -= _RIFF_CHUNK.size + padded
        if left < 0:
            raise ContentInvalid(f"the WebP is damaged: its chunk {kind!r} is longer than the file")
        frames += kind == b"ANMF" and length > _ANMF_HEADER
        if kind in {b"VP8X", b"VP8 ", b"VP8L"}:
            body = pieces.take(min(padded, 10))
            dimensions = _webp_dimensions(kind, body)
            padded -= len(body)
            if kind == b"VP8X":
                canvas = dimensions
            else:
                picture = dimensions
        pieces.skip(padded)
    if frames and canvas:
        picture = canvas
    if left or picture is None or (canvas or picture) != picture:
        raise ContentInvalid("the WebP has no image of the size in its header")
    _check_frames(frames, "WebP")
    return Seen(*picture, remark=trailing(pieces.rest(size), "WebP"))


def _webp_dimensions(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == b"VP8X" and len(body) == 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(body) == 10 and body[0] & 1 == 0 and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise ContentInvalid(f"the WebP is damaged: its {kind!r} chunk does not begin with an image")


def gif(file: IO[bytes], size: int) -> Seen:
    """Return width, height and a remark of a GIF, animated or not, after reading its blocks; raises ContentInvalid."""
    pieces = _Pieces(file, "GIF")
    width, height, flags = pieces.unpack(_GIF_SCREEN)
    pieces.skip(_gif_table(flags))
    frames = blocks = 0
    while (kind := pieces.take(1)) != _GIF_END:
        if kind == _GIF_IMAGE:
            frames += 1
            _check_frames(frames, "GIF")
            pieces.skip(_gif_table(*pieces.unpack(_GIF_FRAME)) + 1)
        elif kind == _GIF_EXTENSION:
            pieces.skip(1)
        else:
            raise ContentInvalid(f"the GIF is damaged: no block begins with {kind.hex()}")
        length = 1
        while length:
            blocks += 1
            if blocks > MAX_BLOCKS:
                raise ContentInvalid(f"the GIF has more than {MAX_BLOCKS:,} data blocks")
            (length,) = pieces.take(1)
            pieces.skip(length)
    if not frames:
        raise ContentInvalid("the GIF has no image")
    return Seen(width, height, remark=trailing(pieces.rest(size), "GIF"))


def _gif_table(flags: int) -> int:
    """Bytes of the table of colours that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _check_frames(frames: int, name: str) -> None:
    if frames > MAX_FRAMES:
        raise ContentInvalid(f"the {name} has more than {MAX_FRAMES:,} frames")
