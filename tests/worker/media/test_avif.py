import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.worker.media.test_videos import box
from worker.errors import ContentInvalid
from worker.media.avif import avif
from worker.media.images import Seen


def seen(body: bytes) -> Seen:
    return avif(io.BytesIO(body), len(body))


def encoded(pictures: int = 1) -> bytes:
    frames = [Image.effect_noise((64, 48), 80).convert("RGB") for _ in range(pictures)]
    out = io.BytesIO()
    frames[0].save(out, "AVIF", save_all=pictures > 1, append_images=frames[1:], speed=10)
    return out.getvalue()


FTYP = box(b"ftyp", b"avif\0\0\0\0mif1")
SIZE = box(b"iprp", box(b"ipco", box(b"ispe", b"\0" * 7 + b"\x40" + b"\0" * 3 + b"\x30")))
WHERE = box(b"iloc", b"\0" * 4 + b"\x44\0\0\x01" + b"\0\x01\0\0\0\x01" + b"\0\0\0\x10" + b"\0\0\0\x08")
STILL, MOVING = encoded(), encoded(pictures=3)


def index(*content: bytes) -> bytes:
    return box(b"meta", b"\0" * 4, *content)


WHOLE = FTYP + index(SIZE, WHERE) + box(b"mdat", b"pictures")


@pytest.mark.parametrize("body", [STILL, MOVING, WHOLE], ids=["still", "moving", "smallest"])
def test_what_is_whole_is_measured(body):
    assert seen(body) == Seen(64, 48)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (FTYP, r"its index \(meta\) is missing"),
        (FTYP + index(SIZE, WHERE)[:-1], "truncated"),
        (FTYP + index(WHERE), "position or size of its image"),
        (FTYP + index(SIZE), "position or size of its image"),
        (FTYP + index(box(b"iprp", box(b"ipco")), WHERE), "contain the size of its image"),
        (FTYP + index(SIZE, WHERE[:-2]), "left"),
        (FTYP + index(SIZE, box(b"iloc", b"\0" * 4 + b"\x44\0\0\x09")), "ends within a field"),
        (FTYP + index(SIZE, box(b"iloc", b"\0" * 6 + b"\xff\xff" + b"\0\1\0\0\xff\xff" * 9)), "more than 10,000 parts"),
        (FTYP + index(SIZE, WHERE.replace(b"\x10\0\0\0\x08", b"\xff\0\0\0\x08")), "beyond its end"),
        (FTYP + index(SIZE, WHERE) + box(b"mdat", b"pictures")[:-1], "left"),
        (FTYP + box(b"free") * 100_000, "more than 100,000 boxes"),
    ],
)
def test_what_is_not_is_refused_with_its_reason(body, reason):
    with pytest.raises(ContentInvalid, match=reason):
        seen(body)


@pytest.mark.parametrize("body", [STILL, MOVING], ids=["still", "moving"])
@given(data=st.data())
def test_every_cut_is_refused(body, data):
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ContentInvalid):
        seen(body[:end])


@given(st.binary(min_size=1, max_size=7) | st.sampled_from([b"\0" * 9, b"<script>alert(1)</script>", STILL]))
def test_bytes_after_the_end_are_told_and_change_nothing(tail):
    assert seen(STILL + tail)[:2] == (64, 48)
    assert f"{len(tail):,} byte" in seen(STILL + tail).remark


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_no_changed_bytes_raise_anything_but_content_invalid(position, change):
    with suppress(ContentInvalid):
        seen(STILL[:position] + change + STILL[position + len(change) :])
