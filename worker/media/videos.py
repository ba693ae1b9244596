"""Checks that an MP4 or QuickTime video is complete: its boxes (ISO/IEC 14496-12) and samples end with the file."""

import re
import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import IO

from worker.errors import ContentInvalid
from worker.media.images import Seen, trailing

#: box headers that are read in one file; an hour in fragments of half a second has 22,000
MAX_BOXES = 100_000
#: entries of all sample tables in one file; an hour of video with sound has 400,000
MAX_ENTRIES = 2_000_000

#: entries that are read at once
_ROWS = 4096

#: the brands under which MP4 videos are written: https://mp4ra.org/registered-types/brands
_VIDEO_BRAND = re.compile(rb"iso[m2-9a-c]|mp4[12]|avc1|av01|hvc1|M4V[ HP]|MSNV|f4v |dash|cmfc|3g[p2].|qt  ")
_BOX_NAME = re.compile(rb"[ -~\xa9]{4}")
#: the top-level boxes of videos; anything else after a complete video is not part of it
_TOP_BOX = frozenset(
    "ftyp moov mdat moof mfra sidx ssix styp prft emsg free skip wide uuid meta pnot udta".split()  # noqa: SIM905
)

_U32, _U64 = struct.Struct(">I"), struct.Struct(">Q")
_RUN = struct.Struct(">II4x")
#: version, flags, times of creation and change; then of mvhd the ticks a second and the length in ticks
_MOVIE = {0: struct.Struct(">12xII"), 1: struct.Struct(">20xIQ")}
_FRAGMENTS = {0: struct.Struct(">4xI"), 1: struct.Struct(">4xQ")}
#: width and height are the last fields, in 65,536ths of a pixel
_TRACK = {0: struct.Struct(">76xII"), 1: struct.Struct(">88xII")}
_UNKNOWN_LENGTH = {0, 0xFFFF_FFFF, 0xFFFF_FFFF_FFFF_FFFF}


@dataclass(frozen=True, slots=True)
class Box:
    kind: str
    #: of what is in it, without its header
    start: int
    end: int


def mp4(file: IO[bytes], size: int) -> Seen:
    """Return width, height, seconds (None if unknown) and a remark of an MP4 or QuickTime video of `size` bytes.

    Nothing is decoded. Fragmented videos are accepted too, but missing fragments at their end cannot be detected.
    Raises ContentInvalid with the reason: not a video, cut off, damaged.
    """
    boxes = Boxes(file, "MP4")
    movie, data, fragments, end = _top(boxes, size)
    if movie is None or not data or len(data) < fragments:
        missing = "index (moov)" if movie is None else "data (mdat)"
        raise ContentInvalid(f"the MP4 is truncated: its {missing} is missing")
    tracks = [track for track in boxes.within(movie) if track.kind == "trak"]
    pictures = [track for track in tracks if _is_video(boxes, track)]
    if not pictures:
        raise ContentInvalid("the MP4 has no video track")
    for track in tracks:
        has_samples = _check_samples(boxes, boxes.one(track, "mdia", "minf", "stbl"), data)
        if track in pictures and not has_samples and not fragments:
            raise ContentInvalid("the MP4's video track is empty")
    width, height = boxes.versioned(boxes.one(pictures[0], "tkhd"), _TRACK)
    seconds = _seconds(boxes, movie, is_fragmented=fragments > 0)
    return Seen(width >> 16, height >> 16, seconds, trailing(size - end, "video"))


def _top(boxes: "Boxes", size: int) -> tuple[Box | None, list[Box], int, int]:
    """Return the index, the data areas, the number of fragments, and the end of the video."""
    movie: Box | None = None
    data: list[Box] = []
    fragments = at = 0
    while at < size:
        try:
            box = boxes.next(at, size, may_be_open=True)
        except ContentInvalid:
            if movie and data and not _is_cut_box(boxes, at, size, fragments):
                break
            raise
        if at and box.kind in {"ftyp", "moov"} and movie and data:
            # Another video, or half of one.
            break
        if box.kind == "ftyp" and not at:
            _check_brand(boxes.read(box, 0, min(box.end - box.start, 1024)))
        elif box.kind == "ftyp" or (box.kind == "moov" and movie):
            raise ContentInvalid(f"the MP4 has a {box.kind} box at byte {at:,}: it may be two files in one")
        elif box.kind == "moov":
            movie = box
        elif box.kind == "mdat" and box.start < box.end:
            data.append(box)
        fragments += box.kind == "moof"
        at = box.end
    return movie, data, fragments, at


def _is_cut_box(boxes: "Boxes", at: int, size: int, fragments: int) -> bool:
    """Return whether unreadable bytes look like the beginning of a box: then the video may be cut off."""
    header = boxes.read(Box("file", 0, size), at, min(8, size - at))
    if len(header) < 8:
        # Too short to tell, but only a fragmented video continues after its index and its data.
        return fragments > 0
    return header[4:].decode("latin-1") in _TOP_BOX


class Boxes:
    """Random access to the boxes of one file, in bounded memory and with a bounded number of reads."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._headers = 0
        self._entries = 0

    def within(self, box: Box, *, skipping: int = 0) -> Iterator[Box]:
        """The boxes in a box, which they must fill from byte `skipping` on."""
        at = box.start + skipping
        while at < box.end:
            child = self.next(at, box.end)
            yield child
            at = child.end

    def next(self, at: int, end: int, *, may_be_open: bool = False) -> Box:
        """The box at this byte, which must end within `end`; `may_be_open` allows data to state no length."""
        self._headers += 1
        if self._headers > MAX_BOXES:
            raise ContentInvalid(f"the {self._name} has more than {MAX_BOXES:,} boxes")
        around = Box("file", at, end)
        header = self.read(around, 0, 8)
        length, kind, head = _U32.unpack_from(header)[0], header[4:], 8
        if not _BOX_NAME.fullmatch(kind):
            raise ContentInvalid(f"the {self._name} is damaged or has data after its end: no box begins at byte {at:,}")
        if length == 1:
            length, head = _U64.unpack(self.read(around, 8, 8))[0], 16
        elif length == 0 and may_be_open and kind == b"mdat":
            length = end - at
        name = kind.decode("latin-1")
        if length < head or at + length > end:
            raise ContentInvalid(
                f"the {self._name} is truncated or damaged: its {name!r} box at byte {at:,} claims {length:,} bytes, "
                f"but {end - at:,} are left"
            )
        return Box(name, at + head, at + length)

    def one(self, box: Box, *path: str) -> Box:
        """The only box of a kind in a box, however many levels down."""
        for kind in path:
            found = [child for child in self.within(box) if child.kind == kind]
            if len(found) != 1:
                raise ContentInvalid(
                    f"the {self._name} is damaged: a {box.kind} box holds {len(found)} {kind} boxes, not one"
                )
            (box,) = found
        return box

    def read(self, box: Box, offset: int, length: int) -> bytes:
        if box.start + offset + length > box.end:
            raise ContentInvalid(f"the {self._name} is truncated or damaged: its {box.kind} ends within a field")
        self._file.seek(box.start + offset)
        found = self._file.read(length)
        if len(found) != length:
            raise ContentInvalid(f"the {self._name} is truncated: its end is missing")
        return found

    def versioned(self, box: Box, layouts: dict[int, struct.Struct]) -> tuple[int, ...]:
        """Fields whose place depends on the version in the first byte."""
        version = self.read(box, 0, 1)[0]
        if version not in layouts:
            raise ContentInvalid(f"the {self._name}'s {box.kind} box has the unknown version {version}")
        return layouts[version].unpack(self.read(box, 0, layouts[version].size))

    def table(self, box: Box, at: int, row: struct.Struct) -> Iterator[tuple[int, ...]]:
        """The rows of a table whose number stands at byte `at`, right before them; they must fill the box."""
        (rows,) = _U32.unpack(self.read(box, at, 4))
        if at + 4 + rows * row.size != box.end - box.start:
            raise ContentInvalid(
                f"the {self._name} is damaged: its {box.kind} table of {rows:,} entries does not fill its box"
            )
        self._entries += rows
        if self._entries > MAX_ENTRIES:
            raise ContentInvalid(f"the {self._name}'s tables have more than {MAX_ENTRIES:,} entries")
        for first in range(0, rows, _ROWS):
            yield from row.iter_unpack(self.read(box, at + 4 + first * row.size, min(_ROWS, rows - first) * row.size))


def _check_brand(ftyp: bytes) -> None:
    brands = [ftyp[at : at + 4] for at in range(0, len(ftyp), 4) if at != 4]
    if not any(_VIDEO_BRAND.fullmatch(brand) for brand in brands):
        major = brands[0].decode("latin-1") if brands else ""
        raise ContentInvalid(f"the file is of the brand {major!r}, not an MP4 video")


def _is_video(boxes: Boxes, track: Box) -> bool:
    return boxes.read(boxes.one(track, "mdia", "hdlr"), 8, 4) == b"vide"


def _seconds(boxes: Boxes, movie: Box, *, is_fragmented: bool) -> float | None:
    ticks_per_second, length = boxes.versioned(boxes.one(movie, "mvhd"), _MOVIE)
    if not ticks_per_second:
        raise ContentInvalid("the MP4 is damaged: its clock has 0 ticks a second")
    if is_fragmented:
        # The length above is that of the part before the fragments.
        extends = boxes.one(movie, "mvex")
        has_length = any(box.kind == "mehd" for box in boxes.within(extends))
        (length,) = boxes.versioned(boxes.one(extends, "mehd"), _FRAGMENTS) if has_length else (0,)
    return None if length in _UNKNOWN_LENGTH else length / ticks_per_second


def _check_samples(boxes: Boxes, tables: Box, data: list[Box]) -> bool:
    """Each chunk of samples must lie within the file's data; whether there is any."""
    wide = any(box.kind == "co64" for box in boxes.within(tables))
    offsets = boxes.table(boxes.one(tables, "co64" if wide else "stco"), 4, _U64 if wide else _U32)
    starts = [box.start for box in data]
    chunks = 0
    for (offset,), length in zip(offsets, _chunk_lengths(boxes, tables), strict=False):
        chunks += 1
        area = bisect_right(starts, offset) - 1
        if area < 0 or offset + length > data[area].end:
            raise ContentInvalid(
                f"the MP4 is truncated or damaged: {length:,} bytes at byte {offset:,} are outside its data"
            )
    return chunks > 0


def _chunk_lengths(boxes: Boxes, tables: Box) -> Iterator[int]:
    """Bytes of each chunk, from the table that says how many samples it has and the one of their sizes."""
    runs = boxes.table(boxes.one(tables, "stsc"), 4, _RUN)
    sizes = boxes.one(tables, "stsz")
    (same_for_all,) = _U32.unpack(boxes.read(sizes, 4, 4))
    each = iter(()) if same_for_all else boxes.table(sizes, 8, _U32)
    samples = 0
    following = next(runs, None)
    for chunk in count(1):
        if following and following[0] <= chunk:
            samples = following[1]
            following = next(runs, None)
        yield samples * same_for_all or sum(size for (size,) in islice(each, samples))
