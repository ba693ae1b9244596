import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.media.films import film, played, sandbox_film
from worker.errors import ContentInvalid
from worker.media import videos
from worker.media.videos import mp4


def checked(body: bytes) -> tuple[int, int, float | None]:
    """Of a film about which there is nothing to remark."""
    *facts, remark = mp4(io.BytesIO(body), len(body))
    assert remark is None
    return tuple(facts)


def remark_about(body: bytes) -> str:
    *facts, remark = mp4(io.BytesIO(body), len(body))
    assert facts == [64, 48, 5.0]
    assert remark is not None
    return remark


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def table(kind: bytes, *rows: tuple[int, ...], before: bytes = b"\0" * 4) -> bytes:
    return box(kind, before, struct.pack(">I", len(rows)), *(struct.pack(f">{len(row)}I", *row) for row in rows))


def track(
    *,
    chunks: tuple[int, ...] | None = None,
    runs: tuple[tuple[int, int, int], ...] = ((1, 1, 1),),
    sizes: bytes = table(b"stsz", (4,), (4,), before=b"\0" * 8),
    handler: bytes = b"vide",
    tkhd: bytes = b"\0" * 76 + struct.pack(">II", 64 << 16, 48 << 16),
) -> bytes:
    tables = box(
        b"stbl",
        table(b"stco", *((at,) for at in ((DATA_AT,) if chunks is None else chunks))),
        table(b"stsc", *runs),
        sizes,
    )
    hdlr = box(b"hdlr", b"\0" * 8, handler, b"\0" * 13)
    return box(b"trak", box(b"tkhd", tkhd), box(b"mdia", hdlr, box(b"minf", tables)))


def mvhd(length: int = 5000, ticks_per_second: int = 1000, version: int = 0) -> bytes:
    times = struct.pack(">IQ" if version else ">II", ticks_per_second, length)
    return box(b"mvhd", bytes([version]), b"\0" * (19 if version else 11), times, b"\0" * 80)


FTYP = box(b"ftyp", b"isom\0\0\0\0mp42")
MDAT = box(b"mdat", b"pictures")
DATA_AT = len(FTYP) + 8
#: one sample in the first chunk, four in the second, and two bytes in each
LONG_SECOND = ((1, 1, 1), (2, 4, 1))
PAIRS = table(b"stsz", before=b"\0" * 4 + b"\0\0\0\2")
#: the smallest film that passes, so that each refusal has one reason
WHOLE = FTYP + MDAT + box(b"moov", mvhd(), track())


@pytest.mark.parametrize(
    "body",
    [
        sandbox_film(),
        film(),
        film("+faststart"),
        film("frag_keyframe+empty_moov+default_base_moof"),
        film("frag_keyframe"),
        film(sound=True),
        film(size=(320, 180), frames=30),
    ],
    ids=["sandbox", "index last", "index first", "fragments", "fragments after a first part", "sound", "wide"],
)
def test_what_plays_is_accepted_with_its_facts(body):
    frames = played(body)
    width, height, seconds = checked(body)
    assert (width, height) == (frames[0].width, frames[0].height)
    assert seconds is None or seconds == pytest.approx(len(frames) / 12, abs=0.1)
    assert seconds is not None or b"moof" in body


def test_the_length_may_stand_in_either_size_or_be_unknown():
    headers = ((mvhd(90_000, 90_000), 1.0), (mvhd(5200, version=1), 5.2), (mvhd(0), None), (mvhd(0xFFFF_FFFF), None))
    for header, seconds in headers:
        assert checked(FTYP + MDAT + box(b"moov", header, track()))[2] == seconds


def test_a_fragmented_film_may_state_its_length_apart():
    extends = box(b"mvex", box(b"mehd", b"\0" * 4, struct.pack(">I", 7500)))
    assert checked(FTYP + MDAT + box(b"moov", mvhd(), track(), extends) + box(b"moof"))[2] == 7.5


def test_boxes_may_have_long_sizes_and_the_last_none():
    moov = box(b"moov", mvhd(), track(chunks=(len(FTYP) + 16,)))
    wide = struct.pack(">I4sQ", 1, b"mdat", 24) + b"pictures"
    assert checked(FTYP + wide + moov) == (64, 48, 5.0)
    size = len(FTYP) + len(moov) + 8
    moov = box(b"moov", mvhd(), track(chunks=(size,)))
    assert checked(FTYP + moov + struct.pack(">I4s", 0, b"mdat") + b"pictures") == (64, 48, 5.0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (WHOLE + MDAT[:-1], "claims 16 bytes, but 15 are left"),
        (WHOLE + box(b"free", b"padding")[:-1], "left"),
        (FTYP + MDAT + box(b"moov", mvhd(), track(), box(b"mvex")) + box(b"moof", b"x") + b"\0" * 4, "a field"),
        (FTYP + box(b"moov", mvhd(), track()) * 2 + MDAT, "two files in one"),
        (MDAT + WHOLE, "two files in one"),
        (FTYP + MDAT, r"its index \(moov\) is missing"),
        (FTYP + box(b"mdat") + box(b"moov", mvhd(), track()), r"its data \(mdat\) is missing"),
        (WHOLE + box(b"moof", b"x") * 2, r"its data \(mdat\) is missing"),
        (WHOLE + box(b"moof"), "0 mvex boxes"),
        (box(b"ftyp", b"avif\0\0\0\0mif1miaf") + WHOLE[len(FTYP) :], "'avif', not an MP4 video"),
        (box(b"ftyp") + WHOLE[len(FTYP) :], "not an MP4 video"),
        (FTYP + MDAT + box(b"moov", mvhd()), "no video track"),
        (FTYP + MDAT + box(b"moov", mvhd(), track(handler=b"soun")), "no video track"),
        (FTYP + MDAT + box(b"moov", track()), "0 mvhd boxes"),
        (FTYP + MDAT + box(b"moov", mvhd(), mvhd(), track()), "2 mvhd boxes"),
        (FTYP + MDAT + box(b"moov", mvhd(ticks_per_second=0), track()), "0 ticks a second"),
        (FTYP + MDAT + box(b"moov", mvhd()[:8] + b"\7" + mvhd()[9:], track()), "unknown version 7"),
        (FTYP + MDAT + box(b"moov", mvhd(), box(b"trak")), "0 mdia boxes"),
        (FTYP + MDAT + box(b"moov", mvhd(), track(tkhd=b"\0" * 20)), "ends within a field"),
        (FTYP + MDAT + box(b"moov", mvhd(), track(chunks=())), "is empty"),
        (FTYP + MDAT + box(b"moov", mvhd(), track(chunks=(4,))), "outside its data"),
        (FTYP + MDAT + box(b"moov", mvhd(), track(chunks=(DATA_AT + 8,))), "outside its data"),
        (FTYP + MDAT + box(b"moov", mvhd(), track(chunks=(DATA_AT + 5,))), "outside its data"),
        (FTYP + MDAT + box(b"moov", mvhd(), track(sizes=table(b"stsz", before=b"\0" * 4 + b"\0\0\0\x09"))), "outside"),
        (
            FTYP + MDAT + box(b"moov", mvhd(), track(chunks=(DATA_AT, DATA_AT + 2), runs=LONG_SECOND, sizes=PAIRS)),
            "outside",
        ),
        (FTYP + MDAT + box(b"moov", mvhd(), track(sizes=box(b"stsz", b"\0" * 8, b"\0\0\0\x05"))), "does not fill"),
        (FTYP + MDAT + box(b"moov", box(b"free")[:4] + b"\0\0\0\0"), "no box begins"),
        (FTYP + MDAT + box(b"moov", b"\0\0\0\0free"), "claims 0 bytes"),
        (FTYP + box(b"free") * videos.MAX_BOXES, "more than 100,000 boxes"),
    ],
)
def test_a_wrong_film_is_refused_with_its_reason(body, reason):
    with pytest.raises(ContentInvalid, match=reason):
        checked(body)


@given(
    st.binary(max_size=7)
    | st.sampled_from([b"\0" * 8, b"\0" * 500, b"<script>alert(1)</script>", WHOLE, WHOLE[:30], WHOLE[-200:]])
    | st.binary(min_size=8).filter(lambda tail: not videos._BOX_NAME.fullmatch(tail[4:8]))
)
def test_bytes_after_the_end_of_a_film_are_told_and_change_nothing(tail):
    if tail:
        assert f"{len(tail):,} byte" in remark_about(WHOLE + tail)


def test_a_quicktime_film_is_accepted_with_its_facts():
    body = film(container="mov", sound=True)
    assert body[8:12] == b"qt  "
    width, height, seconds = checked(body)
    assert (width, height) == (64, 48)
    assert seconds == pytest.approx(1, abs=0.1)
    for end in range(0, len(body), 97):
        with pytest.raises(ContentInvalid):
            checked(body[:end])


def test_an_old_quicktime_film_has_no_brand():
    assert checked(MDAT + box(b"wide") + box(b"moov", mvhd(), track(chunks=(8,)))) == (64, 48, 5.0)


def test_huge_tables_are_refused_before_they_are_read(monkeypatch):
    monkeypatch.setattr(videos, "MAX_ENTRIES", 10)
    with pytest.raises(ContentInvalid, match="more than 10 entries"):
        checked(film())


@pytest.mark.parametrize("body", [sandbox_film(), film(), film(sound=True)], ids=["sandbox", "plain", "sound"])
@given(data=st.data())
def test_every_cut_of_a_real_film_is_refused(body, data):
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(ContentInvalid):
        checked(body[:end])


def test_a_cut_of_a_film_whose_data_state_no_size_is_refused_too():
    body = bytearray(film("+faststart", frames=4))
    start = body.index(b"mdat") - 4
    body[start : start + 4] = b"\0\0\0\0"
    checked(bytes(body))
    for end in range(start + 8, len(body)):
        with pytest.raises(ContentInvalid):
            checked(bytes(body[:end]))


def test_fragments_are_refused_within_and_without_their_data():
    body = film("frag_keyframe+empty_moov")
    first, second = body.index(b"moof") - 4, body.rindex(b"moof") - 4
    assert first < second
    for end in (*range(first + 1, first + 40), body.index(b"mdat") - 4, second - 1, second + 1, len(body) - 1):
        with pytest.raises(ContentInvalid):
            checked(body[:end])


@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=8))
def test_no_changed_bytes_raise_anything_but_content_invalid(position, change):
    _survives(WHOLE[:position] + change + WHOLE[position + len(change) :])


@given(st.integers(0, 1500), st.binary(min_size=1, max_size=8))
def test_no_changed_index_of_a_real_film_raises_anything_but_content_invalid(position, change):
    _survives(sandbox_film()[:position] + change + sandbox_film()[position + len(change) :])


@given(st.lists(st.sampled_from([FTYP, MDAT, mvhd(), track(), WHOLE, b"\0\0\0\1mdat", b"\0\0\0\0moov"]) | st.binary()))
def test_no_bytes_raise_anything_but_content_invalid(parts):
    _survives(b"".join(parts))


def _survives(body: bytes) -> None:
    try:
        width, height, seconds, _ = mp4(io.BytesIO(body), len(body))
    except ContentInvalid:
        return
    assert 0 <= width < 65536
    assert 0 <= height < 65536
    assert seconds is None or seconds > 0
