"""A statement is added to the file and nothing else: pixels, other metadata and foreign statements stay."""

import io
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from tests.examples import examples
from tests.worker.media import films
from tests.worker.media.test_images import chunk, segment, webp
from worker.generation import AssetKind
from worker.media.content import inspect
from worker.media.xmp import marked

TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def picture(kind: str, size: tuple[int, int] = (13, 7), mode: str = "RGB", **options: object) -> bytes:
    out = io.BytesIO()
    image = Image.effect_noise(size, 80).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.effect_noise(size, 80))
    image.save(out, kind, **options)
    return out.getvalue()


def mark(body: bytes, kind: str, generation_id: str = "gen_1") -> bytes | None:
    copy = marked(io.BytesIO(body), TYPES[kind], generation_id)
    if copy is None:
        return None
    with copy:
        return copy.read()


def opened(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


def packet_in(body: bytes) -> bytes:
    start, end = body.index(b"<?xpacket begin"), body.index(b'<?xpacket end="w"?>') + 19
    return body[start:end]


def check(body: bytes, kind: str) -> bytes:
    """Mark it; whatever is in it, only the packet is new, and our own checks take the result."""
    result = mark(body, kind)
    assert result is not None
    before, after = opened(body), opened(result)
    assert (after.mode, after.size, after.tobytes()) == (before.mode, before.size, before.tobytes())
    assert inspect(io.BytesIO(result), AssetKind.IMAGE) == inspect(io.BytesIO(body), AssetKind.IMAGE)
    xmp = after.info["XML:com.adobe.xmp" if kind == "PNG" else "xmp"]
    assert (xmp if isinstance(xmp, bytes) else xmp.encode()) == packet_in(result)
    for name in ("icc_profile", "exif", "dpi", "jfif_version", "Description"):
        assert after.info.get(name) == before.info.get(name), name
    assert mark(result, kind) is None, "it is marked once"
    return result


@settings(max_examples=examples(60))
@given(
    kind=st.sampled_from(list(TYPES)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    mode=st.sampled_from(["L", "RGB", "RGBA", "P"]),
    icc=st.none() | st.binary(min_size=1, max_size=9),
    exif=st.booleans(),
    progressive=st.booleans(),
    lossless=st.booleans(),
)
def test_pixels_and_other_metadata_stay_whatever_the_picture(
    kind: str, size: tuple[int, int], mode: str, icc: bytes | None, exif: bool, progressive: bool, lossless: bool
) -> None:
    if kind == "JPEG" and mode in {"RGBA", "P"}:
        mode = "RGB"
    options: dict[str, object] = {"progressive": progressive, "lossless": lossless, "icc_profile": icc}
    if exif:
        options["exif"] = Image.Exif()
        options["exif"][0x010E] = "a fox"  # type: ignore[index]
    check(picture(kind, size, mode, **options), kind)


def test_a_picture_larger_than_what_is_kept_in_memory_is_marked_too() -> None:
    body = picture("PNG", (1500, 1200))
    assert len(body) > 1_500_000
    check(body, "PNG")


def test_the_packet_says_what_made_the_picture_and_which_one_it_is() -> None:
    result = mark(picture("PNG"), "PNG", 'gen_<&"1')
    assert result is not None
    (description,) = ET.fromstring(packet_in(result)).iter(f"{RDF}Description")
    assert description.get(f"{IPTC}DigitalSourceType") == (
        "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
    )
    assert description.get("{http://ns.adobe.com/xap/1.0/}CreatorTool") == "Midjourney"
    assert description.get("{http://purl.org/dc/elements/1.1/}identifier") == 'gen_<&"1'


@pytest.mark.parametrize("kind", TYPES)
def test_the_same_picture_and_id_always_give_the_same_bytes(kind: str) -> None:
    body = picture(kind)
    assert mark(body, kind) == mark(body, kind)
    assert mark(body, kind, "gen_1") != mark(body, kind, "gen_2")


def after_header(body: bytes, new: bytes) -> bytes:
    return body[:33] + new + body[33:]


def text_chunk(kind: str, name: str, value: str, **options: object) -> bytes:
    info = PngImagePlugin.PngInfo()
    getattr(info, f"add_{kind}")(name, value, **options)
    return picture("PNG", pnginfo=info)


STATED: dict[str, tuple[str, Callable[[], bytes]]] = {
    "PNG with a packet": ("PNG", lambda: text_chunk("itxt", "XML:com.adobe.xmp", XMP.decode())),
    "PNG with a packet behind its pixels": (
        "PNG",
        lambda: picture("PNG")[:-12] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP) + picture("PNG")[-12:],
    ),
    "PNG with a packed packet": ("PNG", lambda: text_chunk("itxt", "XML:com.adobe.xmp", XMP.decode(), zip=True)),
    "PNG of ImageMagick": ("PNG", lambda: text_chunk("text", "Raw profile type xmp", "00", zip=True)),
    "PNG with credentials": ("PNG", lambda: after_header(picture("PNG"), chunk(b"caBX", b"jumb"))),
    "JPEG with a packet": ("JPEG", lambda: picture("JPEG", xmp=XMP)),
    "JPEG with credentials": (
        "JPEG",
        lambda: picture("JPEG")[:2] + segment(0xEB, b"JP\0\1\0\0\0\1jumb") + picture("JPEG")[2:],
    ),
    "WebP with a packet": ("WEBP", lambda: picture("WEBP", xmp=XMP)),
    "WebP with credentials": (
        "WEBP",
        lambda: webp((b"VP8L", picture("WEBP", lossless=True)[20:]), (b"C2PA", b"jumb")),
    ),
}


@pytest.mark.parametrize("name", STATED)
def test_what_states_something_itself_is_left_as_it_is(name: str) -> None:
    kind, make = STATED[name]
    body = make()
    inspect(io.BytesIO(body), AssetKind.IMAGE)
    assert mark(body, kind) is None


def test_what_only_looks_like_a_statement_is_none() -> None:
    check(text_chunk("itxt", "Description", "XML:com.adobe.xmp"), "PNG")
    other_app11 = picture("JPEG")
    check(other_app11[:2] + segment(0xEB, b"HDR_RI ver=11") + other_app11[2:], "JPEG")


def test_jfif_and_exif_stay_in_front() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a fox"
    result = check(picture("JPEG", exif=exif), "JPEG")
    assert result[2:4] == b"\xff\xe0"
    assert result.index(b"Exif\0") < result.index(b"http://ns.adobe.com/xap/1.0/\0")


def test_fill_bytes_between_segments_do_not_matter() -> None:
    body = picture("JPEG")
    check(body[:2] + b"\xff\xff" + body[2:], "JPEG")


def test_a_transparent_lossless_webp_stays_transparent() -> None:
    result = check(picture("WEBP", mode="RGBA", lossless=True), "WEBP")
    assert opened(result).mode == "RGBA"
    assert result[12:16] == b"VP8X"
    assert result[20] == 0x14, "alpha and XMP"


@pytest.mark.parametrize("kind", TYPES)
def test_a_picture_with_bytes_after_its_end_is_marked_before_it(kind: str) -> None:
    body = picture(kind)
    assert mark(body + b"tail", kind) == check(body, kind) + b"tail"


def test_a_jpeg_with_an_index_of_further_pictures_is_left_as_it_is() -> None:
    body = picture("JPEG")
    assert mark(body[:2] + segment(0xE2, b"MPF\0II*\0") + body[2:] + body, "JPEG") is None


def test_a_film_is_left_as_it_is() -> None:
    assert marked(io.BytesIO(films.film()), "video/mp4", "gen_1") is None


def test_the_chunk_of_a_png_has_its_checksum() -> None:
    result = mark(picture("PNG"), "PNG")
    assert result is not None
    (length,) = struct.unpack(">I", result[33:37])
    assert result[37:41] == b"iTXt"
    assert zlib.crc32(result[37 : 41 + length]) == struct.unpack(">I", result[41 + length : 45 + length])[0]
