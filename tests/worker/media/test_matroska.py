import io
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.media.films import film
from worker.errors import ContentInvalid
from worker.media import matroska as module
from worker.media.images import Seen
from worker.media.matroska import matroska


def seen(body: bytes) -> Seen:
    return matroska(io.BytesIO(body), len(body))


def element(kind: int, *content: bytes, length: int | None = None) -> bytes:
    body = b"".join(content)
    name = kind.to_bytes((kind.bit_length() + 7) // 8)
    return name + ((len(body) if length is None else length) | 1 << 56).to_bytes(8) + body


def unsigned(kind: int, value: int) -> bytes:
    return element(kind, value.to_bytes(4))


#: what a length is that is not stated
OPEN = (1 << 56) - 1

HEADER = element(0x1A45DFA3, element(0x4282, b"webm"))
INFO = element(0x1549A966, unsigned(0x2AD7B1, 1_000_000), element(0x4489, struct.pack(">d", 5000)))
SOUND = element(0xAE, unsigned(0x83, 2))
PICTURES = element(0xAE, unsigned(0x83, 1), element(0xE0, unsigned(0xB0, 64), unsigned(0xBA, 48)))
TRACKS = element(0x1654AE6B, SOUND, PICTURES)
BLOCK = element(0xA3, b"frame")
CLUSTER = element(0x1F43B675, unsigned(0xE7, 0), BLOCK)
WHOLE = HEADER + element(0x18538067, INFO, TRACKS, CLUSTER)
OPEN_CLUSTER = element(0x1F43B675, BLOCK, BLOCK, length=OPEN)
STREAMED = HEADER + element(0x18538067, INFO, TRACKS, OPEN_CLUSTER, OPEN_CLUSTER, length=OPEN)

WEBM, MKV, LIVE = film(container="webm"), film(container="mkv", sound=True), film(container="webm", live=True)


@pytest.mark.parametrize("body", [WEBM, MKV, LIVE], ids=["WebM", "Matroska", "streamed"])
def test_what_an_encoder_writes_is_accepted_with_its_facts(body):
    width, height, seconds, remark = seen(body)
    assert (width, height, remark) == (64, 48, None)
    assert seconds is None if body is LIVE else seconds == pytest.approx(1, abs=0.1)


def test_the_smallest_film_that_passes():
    assert seen(WHOLE) == seen(STREAMED) == Seen(64, 48, 5.0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (HEADER, "does not begin with its name and length"),
        (element(0x1A45DFA3, element(0x4282, b"exe")) + WHOLE[len(HEADER) :], "EBML type 'exe'"),
        (HEADER + CLUSTER, "does not begin with a segment"),
        (HEADER + element(0x18538067, INFO, TRACKS), "no data"),
        (HEADER + element(0x18538067, INFO, TRACKS, element(0x1F43B675)), "no data"),
        (HEADER + element(0x18538067, INFO, CLUSTER), "no video track"),
        (HEADER + element(0x18538067, INFO, element(0x1654AE6B, SOUND), CLUSTER), "no video track"),
        (HEADER + element(0x18538067, element(0x1549A966, element(0x4489, b"long" * 9)), TRACKS), "longer than 8"),
        (HEADER + element(0x18538067, INFO, TRACKS, CLUSTER, length=OPEN - 1), "states 72,057,594,037,927,934 bytes"),
        (HEADER + element(0x18538067, element(0x1654AE6B, PICTURES, length=OPEN), CLUSTER), "states no length"),
        (
            HEADER + element(0x18538067, TRACKS, element(0x1F43B675, element(0xA0, length=OPEN), length=OPEN)),
            "states no",
        ),
        (HEADER + element(0x18538067, element(0xEC) * module.MAX_ELEMENTS), "more than 100,000 elements"),
        (HEADER + element(0x18538067, length=OPEN) * 2, "states no length"),
        (WHOLE[:-1], "truncated"),
        (STREAMED[:-1], "truncated"),
    ],
)
def test_a_wrong_film_is_refused_with_its_reason(body, reason):
    with pytest.raises(ContentInvalid, match=reason):
        seen(body)


@pytest.mark.parametrize("body", [WEBM, MKV, WHOLE], ids=["WebM", "Matroska", "smallest"])
@given(data=st.data())
def test_every_cut_is_refused(body, data):
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ContentInvalid):
        seen(body[:end])


@given(st.binary(min_size=1) | st.sampled_from([WHOLE, BLOCK]))
def test_bytes_after_the_end_are_told_and_change_nothing(tail):
    assert seen(WHOLE + tail)[:3] == seen(WHOLE)[:3]
    assert f"{len(tail):,} byte" in seen(WHOLE + tail).remark


@given(st.sampled_from([WHOLE, STREAMED]), st.data(), st.binary(min_size=1, max_size=8))
def test_no_changed_bytes_raise_anything_but_content_invalid(body, data, change):
    position = data.draw(st.integers(0, len(body) - 1))
    with suppress(ContentInvalid):
        found = seen(body[:position] + change + body[position + len(change) :])
        assert found.seconds is None or found.seconds > 0
