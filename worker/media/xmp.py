"""Marks an image as made by a model, by embedding an XMP packet in the file without decoding it.

Position: PNG iTXt and JPEG APP1 as in Adobe's XMP Specification Part 3, WebP as in Google's WebP container
specification. Content: https://iptc.org/std/photometadata/specification (Digital Source Type). A file with its own
packet or C2PA content credentials (https://spec.c2pa.org, "Embedding manifests") is not changed: its own statement
is more specific, and the credentials' signature covers every byte.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from html import escape
from tempfile import SpooledTemporaryFile
from typing import IO

from worker.downloads import MEMORY_PART
from worker.media.images import PIECE

_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    xmp:CreatorTool="Midjourney"
    dc:identifier="{identifier}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""

#: offset, number of bytes to replace, and the replacement
Edit = tuple[int, int, bytes]

_PNG_KEYWORD = b"XML:com.adobe.xmp\0"
#: PNG chunks in which ImageMagick and older tools store a packet
_PNG_PROFILES = (b"Raw profile type xmp\0", b"Raw profile type iptc\0")
_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_JPEG_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_SOI, _SOS, _APP0, _APP1, _APP2, _APP11 = 0xD8, 0xDA, 0xE0, 0xE1, 0xE2, 0xEB
_WEBP_XMP_FLAG, _WEBP_ALPHA_FLAG = 0x04, 0x10


def marked(file: IO[bytes], content_type: str, generation_id: str) -> IO[bytes] | None:
    """Return a temporary file with the same image and the packet, or None if the file must not be changed.

    `worker.media.content.inspect` must have accepted `file`. The same file and id always give the same bytes.
    """
    find = {"image/png": _png, "image/jpeg": _jpeg, "image/webp": _webp}.get(content_type)
    packet = _PACKET.format(identifier=escape(generation_id)).encode()
    edits = find(file, packet) if find else None
    return _spliced(file, edits) if edits else None


def _png(file: IO[bytes], packet: bytes) -> list[Edit] | None:
    at = 8
    after_header = 0
    while True:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"IHDR":
            after_header = at + 12 + length
        if kind == b"IEND":
            break
        if kind == b"caBX" or (
            kind in {b"iTXt", b"tEXt", b"zTXt"} and file.read(32).startswith((_PNG_KEYWORD, *_PNG_PROFILES))
        ):
            return None
        at += 12 + length
    # Not compressed, without language and translated keyword, as the XMP specification requires.
    body = b"iTXt" + _PNG_KEYWORD + b"\0\0\0\0" + packet
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return [(after_header, 0, chunk)]


def _jpeg(file: IO[bytes], packet: bytes) -> list[Edit] | None:
    place = 2
    for marker, at, length in _jpeg_segments(file):
        head = file.read(40)
        if marker == _APP1 and head.startswith((_JPEG_XMP, _JPEG_MORE_XMP)):
            return None
        if marker == _APP11 and head.startswith(b"JP"):
            return None
        # The index of further images contains the length of this one.
        if marker == _APP2 and head.startswith(b"MPF\0"):
            return None
        # JFIF and Exif both must come first.
        if at == place and (marker == _APP0 or (marker == _APP1 and head.startswith(b"Exif\0"))):
            place = at + 2 + length
    body = _JPEG_XMP + packet
    return [(place, 0, b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)]


def _jpeg_segments(file: IO[bytes]) -> Iterator[tuple[int, int, int]]:
    """Yield marker, offset and stated length of each segment before the pixels; the file is left after the length."""
    at = 2
    while True:
        file.seek(at)
        fill, marker = file.read(2)
        if (fill, marker) == (0xFF, 0xFF):
            at += 1
            continue
        if marker == _SOS:
            return
        (length,) = struct.unpack(">H", file.read(2))
        yield marker, at, length
        at += 2 + length


def _webp(file: IO[bytes], packet: bytes) -> list[Edit] | None:
    # Bytes may follow the end of the image.
    file.seek(4)
    size = struct.unpack("<I", file.read(4))[0] + 8
    at = 12
    first: tuple[bytes, bytes] | None = None
    while at < size:
        file.seek(at)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind in {b"XMP ", b"C2PA"}:
            return None
        first = first or (kind, file.read(10))
        at += 8 + length + length % 2
    if first is None or first[0] not in {b"VP8X", b"VP8 ", b"VP8L"}:
        return None
    chunk = struct.pack("<4sI", b"XMP ", len(packet)) + packet + b"\0" * (len(packet) % 2)
    kind, head = first
    if kind == b"VP8X":
        edits = [(20, 1, bytes([head[0] | _WEBP_XMP_FLAG]))]
        header = b""
    else:
        header = struct.pack("<4sI", b"VP8X", 10) + _webp_canvas(kind, head)
        edits = [(12, 0, header)]
    # The size excludes the first 8 bytes; the packet becomes the last chunk.
    return [(4, 4, struct.pack("<I", size - 8 + len(header) + len(chunk))), *edits, (size, 0, chunk)]


def _webp_canvas(kind: bytes, head: bytes) -> bytes:
    """Return the extended header that a simple file lacks: flags, and its image's width and height minus 1."""
    flags = _WEBP_XMP_FLAG
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        width, height = bits & 0x3FFF, bits >> 14 & 0x3FFF
        flags |= _WEBP_ALPHA_FLAG if bits >> 28 & 1 else 0
    else:
        width, height = ((side & 0x3FFF) - 1 for side in struct.unpack_from("<HH", head, 6))
    return bytes([flags, 0, 0, 0]) + width.to_bytes(3, "little") + height.to_bytes(3, "little")


def _spliced(file: IO[bytes], edits: list[Edit]) -> IO[bytes]:
    """Return a copy with the edits, which must be in order of their offsets; both files are rewound."""
    copy: IO[bytes] = SpooledTemporaryFile(MEMORY_PART)  # noqa: SIM115  the caller closes it
    file.seek(0)
    for offset, replaced, new in edits:
        _copy(file, copy, offset - file.tell())
        copy.write(new)
        file.seek(replaced, os.SEEK_CUR)
    _copy(file, copy, None)
    file.seek(0)
    copy.seek(0)
    return copy


def _copy(source: IO[bytes], target: IO[bytes], count: int | None) -> None:
    while count is None or count > 0:
        piece = source.read(PIECE if count is None else min(PIECE, count))
        if not piece:
            return
        target.write(piece)
        if count is not None:
            count -= len(piece)
