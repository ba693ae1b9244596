import io
import json
import random
import struct
import subprocess
import sys
import tempfile
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.examples import examples
from tests.worker.media import test_matroska
from tests.worker.media.films import film
from tests.worker.media.test_images import GIF_HEAD, chunk, header, png
from worker.errors import ContentInvalid
from worker.generation import AssetKind
from worker.media import content
from worker.media.content import FileFacts, inspect

IMAGE, VIDEO = AssetKind.IMAGE, AssetKind.VIDEO


def encoded(kind: str, size: tuple[int, int] = (160, 120), **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(out, kind, **options)
    return out.getvalue()


PNG, JPEG, WEBP, LOSSLESS, MP4 = (
    encoded("PNG"),
    encoded("JPEG"),
    encoded("WEBP"),
    encoded("WEBP", lossless=True),
    film(),
)
GIF, AVIF = encoded("GIF"), encoded("AVIF", speed=10)
MOV, WEBM, MKV = film(container="mov"), film(container="webm"), film(container="mkv")
FRAMES = {"save_all": True, "append_images": [Image.effect_noise((160, 120), 80).convert("RGB")] * 2}
MOVING = {kind: encoded(kind, **FRAMES) for kind in ("PNG", "WEBP", "GIF", "AVIF")}
EVERY = {"PNG": PNG, "JPEG": JPEG, "WebP": WEBP, "lossless WebP": LOSSLESS, "GIF": GIF, "AVIF": AVIF, "MP4": MP4}
EVERY |= {"MOV": MOV, "WebM": WEBM, "MKV": MKV} | {f"moving {kind}": body for kind, body in MOVING.items()}


def refusal(body: bytes, kind: AssetKind = IMAGE) -> str:
    with pytest.raises(ContentInvalid) as caught:
        inspect(io.BytesIO(body), kind)
    return str(caught.value)


@pytest.mark.parametrize("kind", AssetKind)
@pytest.mark.parametrize(
    ("body", "facts"),
    [
        (PNG, FileFacts(content_type="image/png", extension="png", width=160, height=120)),
        (JPEG, FileFacts(content_type="image/jpeg", extension="jpg", width=160, height=120)),
        (
            encoded("JPEG", progressive=True),
            FileFacts(content_type="image/jpeg", extension="jpg", width=160, height=120),
        ),
        (WEBP, FileFacts(content_type="image/webp", extension="webp", width=160, height=120)),
        (LOSSLESS, FileFacts(content_type="image/webp", extension="webp", width=160, height=120)),
        (MOVING["WEBP"], FileFacts(content_type="image/webp", extension="webp", width=160, height=120)),
        (MOVING["PNG"], FileFacts(content_type="image/png", extension="png", width=160, height=120)),
        (GIF, FileFacts(content_type="image/gif", extension="gif", width=160, height=120)),
        (MOVING["GIF"], FileFacts(content_type="image/gif", extension="gif", width=160, height=120)),
        (AVIF, FileFacts(content_type="image/avif", extension="avif", width=160, height=120)),
        (MOVING["AVIF"], FileFacts(content_type="image/avif", extension="avif", width=160, height=120)),
        (
            AVIF.replace(b"ftypavif", b"ftypmif1"),
            FileFacts(content_type="image/avif", extension="avif", width=160, height=120),
        ),
        (MP4, FileFacts(content_type="video/mp4", extension="mp4", width=64, height=48, seconds=1.0)),
        (MOV, FileFacts(content_type="video/quicktime", extension="mov", width=64, height=48, seconds=1.0)),
        (WEBM, FileFacts(content_type="video/webm", extension="webm", width=64, height=48, seconds=1.0)),
        (MKV, FileFacts(content_type="video/matroska", extension="mkv", width=64, height=48, seconds=1.0)),
    ],
)
def test_the_bytes_say_what_the_file_is_whatever_was_promised(body, facts, kind):
    file = io.BytesIO(body)
    file.seek(5)
    assert inspect(file, kind) == facts
    assert file.tell() == 0


@pytest.mark.parametrize("memory", [100, 1024 * 1024])
def test_a_download_is_checked_in_memory_and_on_disk(memory):
    with tempfile.SpooledTemporaryFile(memory) as file:
        file.write(JPEG)
        assert inspect(file, IMAGE).width == 160
        assert file.read() == JPEG


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Just a moment...</body></html>", "HTML page, not an image"),
        (b"\xef\xbb\xbf\r\n <html><svg/></html>", "HTML page"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG drawing"),
        (b'<?xml version="1.0"?><svg/>', "SVG drawing"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "markup"),
        (b'{"message": "expired"}', "JSON"),
        (b"[]", "JSON"),
        (b"This content is no longer available.", "plain text"),
        ("Ссылка устарела".encode(), "plain text"),
        (b"GIF89a\x01\x00\x01\x00", "truncated"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "plain text"),
        (b"\x1f\x8b\x08\x00" + PNG, "1f 8b 08 00"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "'heic', not an MP4 video"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", "'mif1', not an MP4 video"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not PNG, JPEG, WebP, GIF, AVIF, MP4, MOV, WebM and MKV"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "52 49 46 46 24 00 00 00"),
    ],
)
def test_what_is_neither_image_nor_video_is_refused_by_name(body, reason):
    assert reason in refusal(body)


def test_the_refusal_says_what_was_promised():
    assert refusal(b"<html>", VIDEO) == "the file is an HTML page, not a video"


def _bomb(width: int, height: int) -> bytes:
    pixels = chunk(b"IDAT", zlib.compress(bytes(width * height // 300), 0))
    return png(header(width, height), pixels, chunk(b"IEND"))


@pytest.mark.parametrize(
    "body",
    [
        _bomb(20_000, 20_000),
        encoded("JPEG", (1, 1)).replace(b"\x08\x00\x01\x00\x01\x03", b"\x08\xff\xff\xff\xff\x03"),
        encoded("WEBP", (1, 1)).replace(b"\x9d\x01\x2a\x01\x00\x01\x00", b"\x9d\x01\x2a\xff\x3f\xff\x3f"),
        GIF.replace(struct.pack("<HH", 160, 120), b"\xff\xff\xff\xff", 1),
        AVIF.replace(struct.pack(">II", 160, 120), b"\0\0\x7f\xff\0\0\x7f\xff", 1),
        MP4.replace(struct.pack(">II", 64 << 16, 48 << 16), b"\xff\xff\0\0\xff\xff\0\0"),
        test_matroska.WHOLE.replace((64).to_bytes(4), b"\x7f\xff\xff\xff"),
    ],
    ids=["PNG", "JPEG", "WebP", "GIF", "AVIF", "MP4", "WebM"],
)
def test_a_bomb_is_refused_before_anything_decodes_it(body, monkeypatch):
    def never(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(content, "decode", never)
    assert "80,000,000" in refusal(body)


@pytest.mark.parametrize(
    "body",
    [
        encoded("JPEG", (1, 1)).replace(b"\x08\x00\x01\x00\x01\x03", b"\x08\x00\x00\x00\x01\x03"),
        MP4.replace(struct.pack(">II", 64 << 16, 48 << 16), bytes(8)),
    ],
    ids=["JPEG", "MP4"],
)
def test_what_has_no_size_is_refused(body):
    assert "a dimension is missing" in refusal(body)


@pytest.mark.parametrize("body", EVERY.values(), ids=EVERY)
def test_a_second_file_behind_the_first_is_told_and_the_first_is_what_counts(body):
    alone = inspect(io.BytesIO(body), IMAGE)
    for tail in (b"<script>alert(1)</script>", b"\0", b"PK\x05\x06" + b"\0" * 18, body):
        found = inspect(io.BytesIO(body + tail), IMAGE)
        assert replace(found, remark=None) == alone
        assert found.remark.startswith(f"{len(tail):,} byte")


@pytest.mark.parametrize("body", EVERY.values(), ids=EVERY)
def test_a_file_cut_at_any_twentieth_is_refused(body):
    for twentieth in range(20):
        assert refusal(body[: len(body) * twentieth // 20])


def test_a_jpeg_without_its_quantisation_is_refused_by_the_decoder_although_its_segments_are_whole():
    start = JPEG.index(b"\xff\xdb")
    assert "does not decode" in refusal(JPEG[:start] + JPEG[start:].replace(b"\xff\xdb", b"\xff\xfe"))


@pytest.mark.parametrize("body", [WEBP, LOSSLESS], ids=["lossy", "lossless"])
def test_a_webp_that_is_rubbish_behind_its_header_is_refused_by_the_decoder(body):
    start = 32
    assert "does not decode" in refusal(body[:start] + b"\xff" * (len(body) - start))


_AVIF_DATA = AVIF.index(b"mdat") + 4
_SPOILT_AVIF = AVIF[:_AVIF_DATA] + b"\xff" * (len(AVIF) - _AVIF_DATA)


@pytest.mark.parametrize(
    "body",
    [GIF_HEAD + b",\0\0\0\0\x04\0\x04\0\0\x02\x01\x44\0;", _SPOILT_AVIF],
    ids=["GIF", "AVIF"],
)
def test_a_whole_file_without_a_whole_image_is_refused_by_the_decoder(body):
    assert "does not decode" in refusal(body)


@settings(max_examples=examples(60))
@given(
    st.sampled_from([JPEG, WEBP, LOSSLESS, GIF, AVIF, MOVING["WEBP"], MOVING["GIF"]]), st.randoms(use_true_random=False)
)
def test_flipped_bits_never_raise_anything_but_content_invalid(body, chance: random.Random):
    """Many a flipped bit gives another picture that decodes as well: that is what Content-Length and hashes are for."""
    damaged = bytearray(body)
    for _ in range(chance.randint(1, 6)):
        damaged[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    try:
        facts = inspect(io.BytesIO(damaged), IMAGE)
    except ContentInvalid:
        return
    assert facts.width * facts.height <= content.MAX_PIXELS


@pytest.mark.processes
def test_neither_decoder_nor_encoder_is_loaded_into_a_worker():
    code = "import json, sys, tasks.archive; print(json.dumps([name for name in sys.modules]))"
    found = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    assert "worker.media.content" in found
    assert not {"PIL", "av", "PIL.Image"} & set(found)
