"""Checks that an AVIF is complete: its boxes (ISO/IEC 14496-12, 23008-12) end with the file and contain its items."""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import IO

from worker.errors import ContentInvalid
from worker.media.images import Seen, trailing
from worker.media.videos import Box, Boxes

#: parts of all images in one file: a large tiled one has some hundreds
MAX_PARTS = 10_000

_SIZE = struct.Struct(">4xII")
#: the top-level boxes of an AVIF file; anything else after a complete image is not part of it
_TOP_BOX = frozenset({"ftyp", "meta", "mdat", "moov", "free", "skip", "uuid"})


def avif(file: IO[bytes], size: int) -> Seen:
    """Return width and height of the largest image in an AVIF of `size` bytes, and a remark; raises ContentInvalid."""
    boxes = Boxes(file, "AVIF")
    meta: Box | None = None
    at = 0
    while at < size:
        try:
            box = boxes.next(at, size, may_be_open=True)
        except ContentInvalid:
            header = boxes.read(Box("file", 0, size), at, min(8, size - at))
            if meta and header[4:].decode("latin-1") not in _TOP_BOX:
                break
            raise
        if at and box.kind in {"ftyp", "meta"} and meta:
            break
        if box.kind == "meta":
            meta = box
        at = box.end
    if meta is None:
        raise ContentInvalid("the AVIF is truncated or not an image: its index (meta) is missing")
    found = {box.kind: box for box in boxes.within(meta, skipping=4)}
    if not {"iprp", "iloc"} <= found.keys():
        raise ContentInvalid("the AVIF is damaged: its index does not contain the position or size of its image")
    if max(_ends(boxes, found["iloc"]), default=0) > at:
        raise ContentInvalid("the AVIF is truncated: a part of its image is beyond its end")
    properties = boxes.within(boxes.one(found["iprp"], "ipco"))
    sizes = [_SIZE.unpack(boxes.read(box, 0, _SIZE.size)) for box in properties if box.kind == "ispe"]
    if not sizes:
        raise ContentInvalid("the AVIF does not contain the size of its image")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    return Seen(width, height, remark=trailing(size - at, "AVIF"))


def _ends(boxes: Boxes, iloc: Box) -> Iterator[int]:
    """Yield the end of each part of each item, for items positioned from the start of the file."""
    body = iter(boxes.read(iloc, 0, min(iloc.end - iloc.start, 64 * MAX_PARTS)))

    def number(length: int) -> int:
        taken = bytes(islice(body, length))
        if len(taken) < length:
            raise ContentInvalid("the AVIF is damaged: its iloc ends within a field")
        return int.from_bytes(taken)

    version = number(4) >> 24
    sizes = number(2)
    offset, length, base, index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    wide = 4 if version == 2 else 2
    parts = 0
    for _ in range(number(wide)):
        number(wide)
        method = number(2) & 15 if version else 0
        number(2)
        start = number(base)
        extents = number(2)
        # Fields may be 0 bytes long, so that a short box could announce millions.
        parts += extents
        if parts > MAX_PARTS:
            raise ContentInvalid(f"the AVIF has more than {MAX_PARTS:,} parts")
        for _ in range(extents):
            number(index if version else 0)
            end = start + number(offset) + number(length)
            if method == 0:
                yield end
