"""Identifies and checks result files by their bytes, never by their name or the server's content type."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import IO

from worker.errors import ContentInvalid
from worker.generation import AssetKind
from worker.media.avif import avif
from worker.media.decoding import decode
from worker.media.decoding_child import MAX_PIXELS
from worker.media.images import Seen, gif, jpeg, png, webp
from worker.media.matroska import matroska
from worker.media.videos import mp4

_NAMES = {AssetKind.IMAGE: "an image", AssetKind.VIDEO: "a video", AssetKind.TEXT: "a result"}
_KNOWN = "PNG, JPEG, WebP, GIF, AVIF, MP4, MOV, WebM and MKV"
_CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0e-\x1f]")


_BEGINNINGS = tuple(
    (content_type, re.compile(pattern, re.DOTALL))
    for content_type, pattern in (
        ("image/png", rb"\x89PNG\r\n\x1a\n"),
        ("image/jpeg", rb"\xff\xd8\xff"),
        ("image/webp", rb"RIFF.{4}WEBP"),
        ("image/gif", rb"GIF8[79]a"),
        # The first brand may be a generic one.
        ("image/avif", rb".{4}ftyp(?:avi[fs]|(?:mif1|msf1|miaf).{4}(?:.{4}){0,8}?avi[fs])"),
        # Older files begin without ftyp.
        ("video/quicktime", rb"[\x00-\x08].{3}(?:ftypqt  |moov|mdat|wide|pnot)"),
        ("video/mp4", rb".{4}ftyp"),
        ("video/webm", rb"\x1a\x45\xdf\xa3.{0,40}?\x42\x82.webm"),
        ("video/matroska", rb"\x1a\x45\xdf\xa3"),
    )
)
#: content type → the extension, and the function that reads the structure of a file of the given size in bytes
_READERS: Mapping[str, tuple[str, Callable[[IO[bytes], int], Seen]]] = {
    "image/png": ("png", png),
    "image/jpeg": ("jpg", jpeg),
    "image/webp": ("webp", webp),
    "image/gif": ("gif", gif),
    "image/avif": ("avif", avif),
    "video/mp4": ("mp4", mp4),
    "video/quicktime": ("mov", mp4),
    "video/webm": ("webm", matroska),
    "video/matroska": ("mkv", matroska),
}
#: content types that are decoded; other image types have checksums
_DECODED = frozenset({"image/jpeg", "image/webp", "image/gif", "image/avif"})
#: types whose dimensions come from the decoder: a GIF's frame may exceed its screen, an AVIF has several images
_MEASURED_BY_DECODER = frozenset({"image/gif", "image/avif"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """Facts from the bytes themselves, regardless of the server's headers."""

    content_type: str
    extension: str
    width: int
    height: int
    #: duration of a video; None for an image, or if the file does not state it
    seconds: float | None = None
    #: anything unusual about a complete file
    remark: str | None = None


def inspect(file: IO[bytes], kind: AssetKind) -> FileFacts:
    """Check an image or a video, whichever was announced (providers mix them up), and rewind the file.

    Supports PNG, JPEG, WebP, GIF, AVIF, MP4, QuickTime, WebM and Matroska. Images without checksums are also decoded,
    in another process. `kind` only affects the error text. Raises ContentInvalid with the reason (empty, of another
    kind, truncated, damaged, too large), or DownloadError if the decoder was not available.
    """
    facts = read_structure(file, kind)
    if facts.content_type in _DECODED:
        is_measured = facts.content_type not in _MEASURED_BY_DECODER
        width, height = decode(file, facts.content_type, (facts.width, facts.height) if is_measured else None)
        facts = replace(facts, width=width, height=height)
    file.seek(0)
    return facts


def read_structure(file: IO[bytes], kind: AssetKind) -> FileFacts:
    """Inspect a file without decoding it. Raises ContentInvalid."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(1024)
    file.seek(0)
    facts = _facts(file, size, head, kind)
    if not facts.width or not facts.height:
        raise ContentInvalid(f"the image is {facts.width} x {facts.height} pixels: a dimension is missing")
    if facts.width * facts.height > MAX_PIXELS:
        raise ContentInvalid(f"the image is {facts.width} x {facts.height} pixels, above the limit of {MAX_PIXELS:,}")
    return facts


def content_type_of(head: bytes) -> str | None:
    """Return the content type from the first 64 bytes; None if no result has this type."""
    return next((content_type for content_type, begins in _BEGINNINGS if begins.match(head)), None)


def _facts(file: IO[bytes], size: int, head: bytes, kind: AssetKind) -> FileFacts:
    content_type = content_type_of(head)
    if content_type is None:
        raise ContentInvalid(_what_else(head, _NAMES[kind]))
    extension, read = _READERS[content_type]
    return FileFacts(content_type=content_type, extension=extension, **read(file, size)._asdict())


def _what_else(head: bytes, promised: str) -> str:
    if not head:
        return "the file is empty"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return f"the file is an HTML page, not {promised}"
    if text.startswith(b"<"):
        return f"the file is {'an SVG drawing' if b'<svg' in text else 'markup'}, not a supported image"
    if text.startswith((b"{", b"[")):
        return f"the file is JSON, not {promised}"
    if not _CONTROL_BYTE.search(head):
        return f"the file is plain text, not {promised}"
    return f"the file begins with {head[:8].hex(' ')}: not {_KNOWN}"
