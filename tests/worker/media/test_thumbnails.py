"""Beside a thumbnail, a decoder tells a colour, and a hash by which images that look alike are found."""

import io
import struct
import zlib
from collections.abc import Iterator
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tests.examples import examples, settings
from worker.errors import ContentInvalid
from worker.media.decoding import Decoder, Limits, Thumbnail

EDGE = 320


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(Limits(wall=60, quick=60))
    yield decoder
    decoder.close()


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def made(decoder: Decoder, content: bytes, kind: str = "png") -> Thumbnail:
    found = decoder.thumbnail(io.BytesIO(content), f"image/{kind}", EDGE)
    assert found is not None
    return found


def picture(seed: int, size: tuple[int, int] = (480, 360)) -> Image.Image:
    """Areas and edges that look different for each seed."""
    small = Image.frombytes("RGB", (7, 5), Random(seed).randbytes(7 * 5 * 3))
    return small.resize(size, Image.Resampling.BICUBIC)


def distance(one: Thumbnail, other: Thumbnail) -> int:
    return (one.dhash ^ other.dhash).bit_count()


@settings(max_examples=examples(60))
@given(
    seed=st.integers(0, 10**6),
    quality=st.integers(40, 95),
    edge=st.integers(150, 1200),
    kind=st.sampled_from(["JPEG", "WEBP"]),
)
def test_an_image_that_was_encoded_again_and_made_larger_or_smaller_has_nearly_the_same_hash_and_colour(
    decoder: Decoder, seed: int, quality: int, edge: int, kind: str
):
    first = made(decoder, saved(picture(seed)))
    again = picture(seed).resize((edge, edge * 3 // 4))
    second = made(decoder, saved(again, kind, quality=quality), kind.lower())
    assert distance(first, second) <= 6
    for place in (0, 8, 16):
        assert abs((first.colour >> place & 255) - (second.colour >> place & 255)) <= 6


def test_different_images_have_hashes_far_apart(decoder: Decoder):
    # Always the same ones: among enough images, two are alike by chance.
    different = [made(decoder, saved(picture(seed))) for seed in range(40)]
    assert min(distance(one, other) for one, other in combinations(different, 2)) > 10


def test_each_bit_says_whether_an_area_is_darker_than_the_one_to_its_right(decoder: Decoder):
    assert made(decoder, saved(Image.linear_gradient("L").rotate(90))).dhash == 2**64 - 1
    assert made(decoder, saved(Image.linear_gradient("L").rotate(-90))).dhash == 0
    assert made(decoder, saved(Image.new("RGB", (50, 50), "red"))).dhash == 0


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "CMYK"])
def test_the_colour_is_the_average_whatever_the_mode(decoder: Decoder, mode: str):
    image = Image.new("RGB", (400, 200), (255, 255, 255))
    ImageDraw.Draw(image).rectangle((0, 0, 199, 199), fill=(0, 0, 0))
    kind = "JPEG" if mode == "CMYK" else "PNG"
    found = made(decoder, saved(image.convert(mode), kind), kind.lower())
    assert all(abs((found.colour >> place & 255) - 128) <= 2 for place in (0, 8, 16))
    assert (found.width, found.height) == (320, 160)


def test_what_cannot_be_seen_has_no_colour(decoder: Decoder):
    image = Image.new("RGBA", (100, 100), (0, 255, 0, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 99, 9), fill=(200, 30, 10, 255))
    colour = made(decoder, saved(image)).colour.to_bytes(3)
    # Of so little that is left, all is rounded.
    assert all(abs(part - seen) <= 6 for part, seen in zip(colour, (200, 30, 10), strict=True))


def test_a_small_image_stays_as_small_as_it_is(decoder: Decoder):
    found = made(decoder, saved(Image.new("RGB", (5, 3), "blue")))
    with Image.open(io.BytesIO(found.webp)) as image:
        assert image.size == (found.width, found.height) == (5, 3)
    assert found.colour == 0x0000FF


def bomb(width: int, height: int) -> bytes:
    """A PNG file of some hundred kB that decodes to this size."""

    def part(name: bytes, body: bytes) -> bytes:
        return struct.pack("!I", len(body)) + name + body + struct.pack("!I", zlib.crc32(name + body))

    squeeze = zlib.compressobj(9)
    rows = b"".join(squeeze.compress(bytes(width * 3 + 1)) for _ in range(height)) + squeeze.flush()
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", struct.pack("!IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + part(b"IDAT", rows)
        + part(b"IEND", b"")
    )


def test_a_decompression_bomb_is_refused_and_the_next_image_is_made(decoder: Decoder):
    with pytest.raises(ContentInvalid, match=r"above the limit|decompression bomb"):
        made(decoder, bomb(10_000, 9_000))
    assert made(decoder, saved(picture(1))).width == EDGE


def test_an_image_that_takes_more_memory_than_the_decoder_has_is_refused(decoder: Decoder):
    narrow = Decoder(Limits(wall=60, quick=60, memory=300 * 1024 * 1024))
    try:
        with pytest.raises(ContentInvalid, match="too much memory"):
            made(narrow, bomb(9_000, 8_000))
        assert made(narrow, saved(picture(1))).width == EDGE
    finally:
        narrow.close()
