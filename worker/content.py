"""What is a result file: told by its own bytes, never by its name or the server's words, and whole to the last one."""

import os
import re
from dataclasses import dataclass
from typing import IO

from worker.decoding import decode
from worker.errors import ContentInvalid
from worker.generation import AssetKind
from worker.images import jpeg, png, webp
from worker.videos import mp4

#: width x height; Midjourney's largest upscale has 17 million
MAX_PIXELS = 80_000_000

_NAMES = {AssetKind.IMAGE: "an image", AssetKind.VIDEO: "a video", AssetKind.TEXT: "a result"}
_CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the bytes themselves say; the server's own words about them are not asked."""

    content_type: str
    extension: str
    width: int
    height: int
    #: length of a video; None where there is none or the file does not state it
    seconds: float | None = None


def inspect(file: IO[bytes], kind: AssetKind) -> FileFacts:
    """Check a PNG, JPEG, WebP or MP4 file, whichever of them was promised (providers mix them), and leave it rewound.

    JPEG and WebP, which have no checksums, are decoded too, in a process of its own. `kind` only words the refusal.
    Raises ContentInvalid with the reason: empty, of another kind, cut off, damaged, something after its end, too large;
    DownloadError if it could not be decoded for no fault of its own.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(1024)
    file.seek(0)
    facts = _facts(file, size, head, kind)
    if not facts.width or not facts.height:
        raise ContentInvalid(f"the picture is {facts.width} x {facts.height} pixels: a dimension is missing")
    if facts.width * facts.height > MAX_PIXELS:
        raise ContentInvalid(
            f"the picture is {facts.width} x {facts.height} pixels; more than {MAX_PIXELS:,} are not accepted"
        )
    # A PNG's checksums find what happened to it on its way; to decode it would take 25 times as long as that.
    if facts.content_type in {"image/jpeg", "image/webp"}:
        decode(file, facts.content_type, (facts.width, facts.height))
    file.seek(0)
    return facts


def content_type_of(head: bytes) -> str | None:
    """What a file claims to be with its first 12 bytes; None for what no result is."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return "video/mp4" if head[4:8] == b"ftyp" else None


def _facts(file: IO[bytes], size: int, head: bytes, kind: AssetKind) -> FileFacts:
    match content_type_of(head):
        case "image/png":
            return FileFacts("image/png", "png", *png(file))
        case "image/jpeg":
            return FileFacts("image/jpeg", "jpg", *jpeg(file))
        case "image/webp":
            return FileFacts("image/webp", "webp", *webp(file, size))
        case "video/mp4":
            return FileFacts("video/mp4", "mp4", *mp4(file, size))
    raise ContentInvalid(_what_else(head, _NAMES[kind]))


def _what_else(head: bytes, promised: str) -> str:
    if not head:
        return "the file is empty"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return f"the file is an HTML page, not {promised}"
    if text.startswith(b"<"):
        return f"the file is {'an SVG drawing' if b'<svg' in text else 'markup'}, not PNG, JPEG, WebP or MP4"
    if text.startswith((b"{", b"[")):
        return f"the file is JSON, not {promised}"
    if not _CONTROL_BYTE.search(head):
        return f"the file is plain text, not {promised}"
    return f"the file begins with {head[:8].hex(' ')}, which is none of PNG, JPEG, WebP and MP4"
