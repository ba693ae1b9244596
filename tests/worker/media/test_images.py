import io
import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from worker.errors import ContentInvalid
from worker.media import images

MEASURES = {"PNG": images.png, "JPEG": images.jpeg, "WEBP": images.webp, "GIF": images.gif}


def seen(kind: str, body: bytes) -> images.Seen:
    return MEASURES[kind](io.BytesIO(body), len(body))


def measured(kind: str, body: bytes) -> tuple[int, int]:
    """Of a file about which there is nothing to remark."""
    found = seen(kind, body)
    assert found.remark is None
    return found[:2]


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

GIF_HEAD = b"GIF89a\x04\0\x04\0\0\0\0"
GIF_FRAME = b",\0\0\0\0\x04\0\x04\0\0\x02\x02\x84\x51\0"

PNG = encoded("PNG")
JPEG = encoded("JPEG")
WEBP = encoded("WEBP")
GIF = encoded("GIF")
WHOLE = [("PNG", PNG), ("JPEG", JPEG), ("WEBP", WEBP), ("GIF", GIF)]


def animated(kind: str, pictures: int = 3, **options: object) -> bytes:
    frames = [Image.effect_noise((64, 48), 80).convert("RGB") for _ in range(pictures)]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], **options)
    return out.getvalue()


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
        ("GIF", "RGB", {}),
        ("GIF", "L", {"interlace": 1, "comment": b"; is not the end here"}),
    ],
)
def test_what_an_encoder_writes_is_whole_and_measured(kind, mode, options, size):
    assert measured(kind, encoded(kind, size, mode, **options)) == size


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_an_animation_is_whole_and_measured(kind):
    assert measured(kind, animated(kind)) == (64, 48)


@pytest.mark.parametrize(("kind", "body"), WHOLE)
@given(tail=st.binary(min_size=1, max_size=300) | st.sampled_from([PNG, JPEG, WEBP, GIF, b"\0", b"\n", END]))
def test_bytes_after_the_end_of_an_image_are_told_and_change_nothing(kind, body, tail):
    found = seen(kind, body + tail)
    assert found[:2] == (64, 48)
    assert f"{len(tail):,} byte" in found.remark


def test_a_gain_map_behind_a_jpeg_is_told():
    index = segment(0xE2, b"MPF\0II*\0")
    assert "a gain map or another image" in seen("JPEG", JPEG[:2] + index + JPEG[2:] + JPEG).remark


@pytest.mark.parametrize("kind", [b"tEXt", b"iTXt", b"tIME", b"prVt"])
def test_a_damaged_chunk_beside_the_picture_is_told_and_changes_nothing(kind):
    wrong = chunk(kind, b"Comment\0a fox")[:-1] + b"\0"
    found = seen("PNG", png(header(4, 4), wrong, wrong, PIXELS, chunk(b"IEND")) + b"\n")
    assert found.remark == f"the checksum of a {kind.decode()} chunk is wrong; 1 byte follows after the end of the PNG"


def test_files_larger_than_one_piece_are_read_across_the_borders(monkeypatch):
    expected = {kind: encoded(kind, (300, 200)) for kind in MEASURES}
    for piece in (1, 2, 3, 7, 4096):
        monkeypatch.setattr(images, "PIECE", piece)
        for kind, body in expected.items():
            assert measured(kind, body) == (300, 200)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (PNG[:-12], "truncated"),
        (png(header(4, 4), chunk(b"fdAT", b"frame")[:-1] + b"?", PIXELS, chunk(b"IEND")), "checksum of its chunk 1"),
        (png(header(4, 4), chunk(b"iDAT", b"flip")[:-1] + b"?", PIXELS, chunk(b"IEND")), "checksum of its chunk 1"),
        (png(header(4, 4), chunk(b"t\0Xt", b"odd")[:-1] + b"?", PIXELS, chunk(b"IEND")), "checksum of its chunk 1"),
        (png(header(4, 4), chunk(b"IDAT", b"garbage with a right checksum"), chunk(b"IEND")), "do not inflate"),
        (png(header(8000, 9000), PIXELS, chunk(b"IEND")), "less data than 8000 x 9000 pixels need"),
        (png(header(8000, 9000), chunk(b"IDAT", zlib.compress(b"\0" * 100_000)), chunk(b"IEND")), "less data than"),
        (PNG.replace(b"IDAT", b"IDAX", 1), "checksum of its chunk 1"),
        (png(PIXELS, chunk(b"IEND")), "IHDR"),
        (png(header(4, 4), header(4, 4), PIXELS, chunk(b"IEND")), "IHDR"),
        (png(chunk(b"IHDR", b"short"), PIXELS, chunk(b"IEND")), "IHDR chunk of 13 bytes"),
        (png(header(4, 4), chunk(b"IEND")), "no pixels"),
        (png(header(4, 4), chunk(b"IDAT"), chunk(b"IEND")), "no pixels"),
        (png(header(4, 4), PIXELS, chunk(b"IEND", b"<script>")), "data in its IEND"),
        (png(header(4, 4), chunk(b"IDAT") * images.MAX_PARTS), "more than 100,000 chunks"),
    ],
)
def test_a_wrong_png_is_refused_with_its_reason(body, reason):
    with pytest.raises(ContentInvalid, match=reason):
        measured("PNG", body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (JPEG[: len(JPEG) * 7 // 10], "truncated"),
        (JPEG[:-2], "truncated"),
        (jpeg(frame(8000, 8000), SCAN * 40, END), "8000 x 8000 pixels in more than 31 scans"),
        (jpeg(frame(4, 4), END), "without pixels"),
        (jpeg(SCAN, END), "without a dimension"),
        (jpeg(frame(4, 4), frame(9_000, 9_000), SCAN, END), "duplicate"),
        (jpeg(segment(0xC0, b"\x08\x00"), SCAN, END), "incomplete"),
        (jpeg(frame(4, 4), SCAN, b"\xff\xd8", SCAN, END), "FFD8 is not allowed"),
        (jpeg(b"\xff\xe0\x00\x01", frame(4, 4), SCAN, END), "FFE0 is not allowed"),
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
        (WEBP[:-2], "truncated"),
        (webp(), "no image"),
        (webp((b"VP8X", canvas(4, 4))), "no image"),
        (webp((b"VP8X", canvas(4, 4)), (b"ANIM", b"\0" * 6)), "no image"),
        (webp((b"ANIM", b"\0" * 6), (b"ANMF", b"frame" * 9)), "no image"),
        (webp((b"VP8X", canvas(4, 4)), *[(b"ANMF", b"frame" * 9)] * (images.MAX_FRAMES + 1)), "more than 10,000"),
        (webp((b"VP8X", canvas(4, 4)), (b"VP8 ", key_frame(9_000, 9_000))), "of the size in its header"),
        (webp((b"VP8 ", b"\x11" + key_frame(4, 4)[1:])), "does not begin with an image"),
        (webp((b"VP8L", b"/")), "does not begin with an image"),
        (webp((b"VP8X", b"")), "does not begin with an image"),
        (webp((b"VP8 ", key_frame(4, 4)))[:16] + b"\xff\xff\xff\x7f" + key_frame(4, 4), "longer than the file"),
        (webp(*[(b"junk", b"")] * (images.MAX_PARTS + 1)), "no image"),
    ],
)
def test_a_wrong_webp_is_refused_with_its_reason(body, reason):
    with pytest.raises(ContentInvalid, match=reason):
        measured("WEBP", body)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (GIF[:-1], "truncated"),
        (GIF_HEAD + b";", "no image"),
        (GIF_HEAD + b"?" + GIF_FRAME + b";", "no block begins with 3f"),
        (GIF_HEAD + GIF_FRAME * (images.MAX_FRAMES + 1) + b";", "more than 10,000 frames"),
        (GIF_HEAD + b"!\xfe" + b"\1x" * images.MAX_BLOCKS + b"\0" + GIF_FRAME + b";", "more than 500,000 data blocks"),
        (GIF_HEAD + b"!\xfe\0" * images.MAX_BLOCKS + GIF_FRAME + b";", "more than 500,000 data blocks"),
    ],
)
def test_a_wrong_gif_is_refused_with_its_reason(body, reason):
    with pytest.raises(ContentInvalid, match=reason):
        measured("GIF", body)


@pytest.mark.parametrize(("kind", "body"), [*WHOLE, *((kind, animated(kind)) for kind in ("PNG", "WEBP", "GIF"))])
@given(data=st.data())
def test_no_image_is_whole_without_all_of_its_bytes(kind, body, data):
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ContentInvalid):
        seen(kind, body[:end])


@given(st.integers(8, len(PNG) - 1), st.integers(1, 255))
def test_no_png_is_whole_with_a_changed_byte(position, change):
    body = bytearray(PNG)
    body[position] ^= change
    with pytest.raises(ContentInvalid):
        seen("PNG", bytes(body))


@given(
    st.sampled_from(list(MEASURES)),
    st.sampled_from([b"", PNG[:8], PNG[:33], JPEG[:3], JPEG[:40], WEBP[:4] + b"\x40\0\0\0WEBP", WEBP[:20], GIF_HEAD]),
    st.binary(max_size=200)
    | st.lists(st.sampled_from([b"\xff", b"\xd9", b"\x00\x02", END, SCAN, PIXELS, GIF_FRAME, b"!\xfe"])).map(b"".join),
)
def test_no_bytes_raise_anything_but_content_invalid(kind, start, rest):
    with suppress(ContentInvalid):
        assert seen(kind, start + rest).width >= 0
