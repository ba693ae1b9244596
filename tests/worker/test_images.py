import io
import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from worker import images
from worker.errors import ContentInvalid

MEASURES = {
    "PNG": images.png,
    "JPEG": images.jpeg,
    "WEBP": lambda file: images.webp(file, len(file.getvalue())),
}


def measured(kind: str, body: bytes) -> tuple[int, int]:
    return MEASURES[kind](io.BytesIO(body))


def encoded(kind: str, size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 80).convert(mode).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def segment(marker: int, data: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg(*parts: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(parts)


def frame(width: int, height: int) -> bytes:
    return segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")


def webp(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def canvas(width: int, height: int) -> bytes:
    return b"\0" * 4 + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def key_frame(width: int, height: int) -> bytes:
    return b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height) + b"pixels"


SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56"
END = b"\xff\xd9"
PIXELS = chunk(b"IDAT", zlib.compress(b"\0" * 100))

PNG = encoded("PNG")
JPEG = encoded("JPEG")
WEBP = encoded("WEBP")


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (1023, 7)])
@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {"optimize": True}),
        ("PNG", "P", {}),
        ("PNG", "1", {}),
        ("JPEG", "RGB", {}),
        ("JPEG", "L", {"restart_marker_blocks": 2}),
        ("JPEG", "RGB", {"progressive": True, "comment": b"\xff\xd9 is not the end here"}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {"exif": b"Exif\0\0odd"}),
        ("WEBP", "RGB", {"lossless": True}),
    ],
)
def test_what_an_encoder_writes_is_whole_and_measured(kind, mode, options, size):
    assert measured(kind, encoded(kind, size, mode, **options)) == size


def test_files_larger_than_one_piece_are_read_across_the_borders(monkeypatch):
    expected = {kind: encoded(kind, (300, 200)) for kind in ("PNG", "JPEG", "WEBP")}
    for piece in (1, 2, 3, 7, 4096):
        monkeypatch.setattr(images, "_PIECE", piece)
        for kind, body in expected.items():
            assert measured(kind, body) == (300, 200)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (PNG[:-12], "cut off"),
        (PNG + b"<script>alert(1)</script>", "two files in one"),
        (PNG.replace(b"IDAT", b"IDAX", 1), "checksum of its chunk 1"),
        (png(PIXELS, chunk(b"IEND")), "IHDR"),
        (png(header(4, 4), header(4, 4), PIXELS, chunk(b"IEND")), "IHDR"),
        (png(chunk(b"IHDR", b"short"), PIXELS, chunk(b"IEND")), "5 bytes instead of 13"),
        (png(header(4, 4), chunk(b"IEND")), "no pixels"),
        (png(header(4, 4), chunk(b"IDAT"), chunk(b"IEND")), "no pixels"),
        (png(header(4, 4), PIXELS, chunk(b"IEND", b"<script>")), "data in its IEND"),
        (png(header(4, 4), chunk(b"acTL", b"\0\0\0\2\0\0\0\0"), PIXELS, chunk(b"IEND")), "animated"),
        (png(header(4, 4), chunk(b"IDAT") * images.MAX_PARTS), "more than 100,000 chunks"),
    ],
)
def test_a_wrong_png_is_refused_with_its_reason(body, reason):
    with pytest.raises(ContentInvalid, match=reason):
        measured("PNG", body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (JPEG[: len(JPEG) * 7 // 10], "cut off"),
        (JPEG[:-2], "cut off"),
        (JPEG + b"<script>", "two files in one"),
        (JPEG + JPEG, "two files in one"),
        (jpeg(frame(4, 4), END), "without pixels"),
        (jpeg(SCAN, END), "without a dimension"),
        (jpeg(frame(4, 4), frame(9_000, 9_000), SCAN, END), "twice"),
        (jpeg(segment(0xC0, b"\x08\x00"), SCAN, END), "not fully"),
        (jpeg(frame(4, 4), SCAN, b"\xff\xd8", SCAN, END), "FFD8 cannot stand"),
        (jpeg(b"\xff\xe0\x00\x01", frame(4, 4), SCAN, END), "FFE0 cannot stand"),
        (jpeg(frame(4, 4), b"oops", SCAN, END), "does not begin with FF"),
        (jpeg(segment(0xE0) * images.MAX_PARTS), "more than 100,000 segments"),
        (jpeg(b"\xff" * (images.MAX_PARTS + 2)), "fill bytes"),
    ],
)
def test_a_wrong_jpeg_is_refused_with_its_reason(body, reason):
    with pytest.raises(ContentInvalid, match=reason):
        measured("JPEG", body)


def test_a_jpeg_with_fill_bytes_and_several_scans_is_accepted():
    body = jpeg(frame(4, 3), SCAN, b"\xff\xff", segment(0xC4, b"table"), SCAN, b"\xff\xff\xff", END)
    assert measured("JPEG", body) == (4, 3)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (WEBP[:-2], "cut off"),
        (WEBP + b"<script>", "data after its end"),
        (webp(), "no still image"),
        (webp((b"VP8X", canvas(4, 4))), "no still image"),
        (webp((b"VP8X", canvas(4, 4)), (b"VP8 ", key_frame(9_000, 9_000))), "of the size that it states"),
        (webp((b"VP8X", canvas(4, 4)), (b"ANIM", b"\0" * 6), (b"ANMF", b"frames")), "animated"),
        (webp((b"VP8 ", b"\x11" + key_frame(4, 4)[1:])), "does not begin with a picture"),
        (webp((b"VP8L", b"/")), "does not begin with a picture"),
        (webp((b"VP8X", b"")), "does not begin with a picture"),
        (webp((b"VP8 ", key_frame(4, 4)))[:16] + b"\xff\xff\xff\x7f" + key_frame(4, 4), "longer than the file"),
        (webp(*[(b"junk", b"")] * (images.MAX_PARTS + 1)), "no still image"),
    ],
)
def test_a_wrong_webp_is_refused_with_its_reason(body, reason):
    with pytest.raises(ContentInvalid, match=reason):
        measured("WEBP", body)


@pytest.mark.parametrize(("kind", "body"), [("PNG", PNG), ("JPEG", JPEG), ("WEBP", WEBP)])
@given(data=st.data())
def test_no_image_is_whole_without_all_of_its_bytes(kind, body, data):
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ContentInvalid):
        measured(kind, body[:end])


@given(st.integers(8, len(PNG) - 1), st.integers(1, 255))
def test_no_png_is_whole_with_a_changed_byte(position, change):
    body = bytearray(PNG)
    body[position] ^= change
    with pytest.raises(ContentInvalid):
        measured("PNG", body)


@given(
    st.sampled_from(list(MEASURES)),
    st.sampled_from([b"", PNG[:8], PNG[:33], JPEG[:3], JPEG[:40], WEBP[:4] + b"\x40\0\0\0WEBP", WEBP[:20]]),
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"\xff", b"\xd9", b"\x00\x02", END, SCAN, PIXELS])).map(b"".join),
)
def test_no_bytes_raise_anything_but_content_invalid(kind, start, rest):
    with suppress(ContentInvalid):
        assert len(measured(kind, start + rest)) == 2
