"""Checks that a WebM or Matroska video is complete: its EBML elements (RFC 8794, RFC 9559) end with the file."""

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from worker.errors import ContentInvalid
from worker.media.images import Seen, trailing

#: elements that are read in one file; an hour in clusters of a second has 3,600
MAX_ELEMENTS = 100_000

_DOC_TYPE = 0x4282
_SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_TICK, _DURATION = 0x2AD7B1, 0x4489
_TRACK, _TRACK_TYPE, _VIDEO, _WIDTH, _HEIGHT = 0xAE, 0x83, 0xE0, 0xB0, 0xBA
_IS_VIDEO = 1
#: what stands in a segment: it ends a cluster that states no length, and so does another file
_LEVEL_1 = frozenset(
    {_INFO, _TRACKS, _CLUSTER, 0x114D9B74, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, 0xEC, _SEGMENT, 0x1A45DFA3}
)


@dataclass(frozen=True, slots=True)
class Element:
    kind: int
    #: of what is in it, without its header
    start: int
    end: int
    #: it states no length, as what is written while it is sent
    is_open: bool = False


def matroska(file: IO[bytes], size: int) -> Seen:
    """Return width, height, seconds (None if unknown) and a remark of a WebM or Matroska video of `size` bytes.

    Nothing is decoded; if a video has no length, missing clusters at its end cannot be
    detected. Raises ContentInvalid with the reason: not a video, cut off, damaged.
    """
    elements = _Elements(file)
    header = elements.next(0, size)
    kind = next((elements.text(one) for one in elements.within(header) if one.kind == _DOC_TYPE), "matroska")
    if kind not in {"webm", "matroska"}:
        raise ContentInvalid(f"the file is of the EBML type {kind!r}, not a WebM video")
    segment = elements.next(header.end, size)
    if segment.kind != _SEGMENT:
        raise ContentInvalid("the WebM is damaged: it does not begin with a segment")
    seconds: float | None = None
    picture: tuple[int, int] | None = None
    has_data = False
    for part in elements.segment(segment):
        if part.kind == _INFO:
            seconds = _seconds(elements, part)
        elif part.kind == _TRACKS:
            picture = picture or _picture(elements, part)
        has_data = has_data or (part.kind == _CLUSTER and part.start < part.end)
    if picture is None or not has_data:
        raise ContentInvalid(f"the WebM is truncated or not a video: it has no {'data' if picture else 'video track'}")
    return Seen(*picture, seconds, trailing(size - segment.end, "video"))


def _seconds(elements: "_Elements", info: Element) -> float | None:
    tick, duration = 1_000_000, 0.0
    for part in elements.within(info):
        if part.kind == _TICK:
            tick = elements.number(part)
        elif part.kind == _DURATION:
            duration = elements.real(part)
    seconds = duration * tick / 1e9
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _picture(elements: "_Elements", tracks: Element) -> tuple[int, int] | None:
    for track in elements.within(tracks):
        if track.kind != _TRACK:
            continue
        parts = {part.kind: part for part in elements.within(track)}
        if _TRACK_TYPE in parts and elements.number(parts[_TRACK_TYPE]) == _IS_VIDEO and _VIDEO in parts:
            sizes = {part.kind: part for part in elements.within(parts[_VIDEO])}
            if _WIDTH in sizes and _HEIGHT in sizes:
                return elements.number(sizes[_WIDTH]), elements.number(sizes[_HEIGHT])
    return None


class _Elements:
    """Random access to the elements of one file, in bounded memory and with a bounded number of reads."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._read = 0

    def next(self, at: int, end: int) -> Element:
        """The element at this byte, which must end within `end`; one that states no length ends there."""
        self._read += 1
        if self._read > MAX_ELEMENTS:
            raise ContentInvalid(f"the WebM has more than {MAX_ELEMENTS:,} elements")
        self._file.seek(at)
        head = self._file.read(min(12, end - at))
        kind, taken = _vint(head, 0, 4, keep_marker=True)
        length, head_size = _vint(head, taken, 8, keep_marker=False)
        start = at + head_size
        if length == (1 << 7 * (head_size - taken)) - 1:
            return Element(kind, start, end, is_open=True)
        if start + length > end:
            raise ContentInvalid(
                f"the WebM is truncated or damaged: its element {kind:X} at byte {at:,} states {length:,} bytes, "
                f"and {end - start:,} are left"
            )
        return Element(kind, start, start + length)

    def within(self, element: Element) -> Iterator[Element]:
        at = element.start
        while at < element.end:
            child = self.next(at, element.end)
            if child.is_open:
                raise ContentInvalid(f"the WebM is damaged: its element {child.kind:X} states no length")
            yield child
            at = child.end

    def segment(self, segment: Element) -> Iterator[Element]:
        """What is in the segment; a cluster that states no length ends where something else begins."""
        at = segment.start
        while at < segment.end:
            child = self.next(at, segment.end)
            if child.is_open and child.kind != _CLUSTER:
                raise ContentInvalid(f"the WebM is damaged: its element {child.kind:X} states no length")
            if child.is_open:
                child = Element(child.kind, child.start, self._end_of_cluster(child))
            yield child
            at = child.end

    def _end_of_cluster(self, cluster: Element) -> int:
        at = cluster.start
        while at < cluster.end:
            child = self.next(at, cluster.end)
            if child.kind in _LEVEL_1:
                break
            if child.is_open:
                raise ContentInvalid(f"the WebM is damaged: its element {child.kind:X} states no length")
            at = child.end
        return at

    def number(self, element: Element) -> int:
        return int.from_bytes(self._field(element, 8))

    def real(self, element: Element) -> float:
        field = self._field(element, 8)
        return float(struct.unpack({4: ">f", 8: ">d"}[len(field)], field)[0]) if len(field) in {4, 8} else 0.0

    def text(self, element: Element) -> str:
        return self._field(element, 32).rstrip(b"\0").decode("latin-1")

    def _field(self, element: Element, longest: int) -> bytes:
        if element.end - element.start > longest:
            raise ContentInvalid(f"the WebM is damaged: its element {element.kind:X} is longer than {longest} bytes")
        self._file.seek(element.start, os.SEEK_SET)
        return self._file.read(element.end - element.start)


def _vint(head: bytes, at: int, longest: int, *, keep_marker: bool) -> tuple[int, int]:
    """A number whose first byte tells its length (RFC 8794, 4), and where it ends."""
    first = head[at] if at < len(head) else 0
    length = 9 - first.bit_length()
    if length > longest or at + length > len(head):
        raise ContentInvalid("the WebM is truncated or damaged: an element does not begin with its name and length")
    value = int.from_bytes(head[at : at + length])
    return (value if keep_marker else value & ~(1 << 7 * length)), at + length
