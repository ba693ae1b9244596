import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path

import psutil
import pytest
from PIL import Image

from tests.patience import patient, wait_for
from worker.errors import ContentInvalid, DownloadError
from worker.media import decoding, decoding_child
from worker.media.decoding import Decoder, Limits, decode

LIMITS = Limits(wall=60, quick=60)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, or needs limits on address space")


def encoded(kind: str, size: tuple[int, int], **options: object) -> bytes:
    out = io.BytesIO()
    Image.effect_noise(size, 80).save(out, kind, **options)
    return out.getvalue()


SMALL, OTHER, THIRD = (encoded("JPEG", (64, 48)) for _ in range(3))


@cache
def large() -> bytes:
    return encoded("JPEG", (4000, 3000), quality=10)


def slow_jpeg() -> bytes:
    """Small, and yet each of its scans makes the decoder go over 64 million pixels once more."""
    body = encoded("JPEG", (8, 8), progressive=True)
    first = body.index(b"\xff\xda")
    frame = body.index(b"\xff\xc2")
    last = body.rindex(b"\xff\xda")
    body = body[: frame + 5] + b"\x1f\x40\x1f\x40" + body[frame + 9 :]
    assert first < last
    return body[:last] + body[last:-2] * 2000 + body[-2:]


@pytest.fixture
def start() -> Iterator[Callable[..., Decoder]]:
    started = []

    def start(**limits: float) -> Decoder:
        started.append(Decoder(replace(LIMITS, **limits)))
        return started[-1]

    yield start
    for decoder in started:
        decoder.close()


def check(decoder: Decoder, body: bytes = SMALL, size: tuple[int, int] = (64, 48)) -> None:
    decoder.decode(io.BytesIO(body), "image/jpeg", size)


def child_of(decoder: Decoder) -> psutil.Process:
    assert decoder._child is not None
    return psutil.Process(decoder._child._process.pid)


def test_one_child_decodes_many_images_and_is_replaced_after_enough_of_them(start):
    decoder = start(images=3)
    children = []
    for _ in range(7):
        check(decoder)
        children.append(child_of(decoder).pid)
    assert [children.count(pid) for pid in dict.fromkeys(children)] == [3, 3, 1]


@pytest.mark.parametrize("pictures", [1, 3])
@pytest.mark.parametrize(
    ("kind", "content_type"), [("GIF", "image/gif"), ("WEBP", "image/webp"), ("AVIF", "image/avif")]
)
def test_a_still_and_a_moving_image_are_decoded_and_measured(start, kind, content_type, pictures):
    frames = {"save_all": True, "append_images": [Image.effect_noise((64, 48), 80)] * (pictures - 1)}
    body = io.BytesIO(encoded(kind, (64, 48), **frames))
    assert start().decode(body, f"image/{kind.lower()}", None) == (64, 48)


def test_of_an_animation_only_so_many_pictures_are_decoded_as_the_limits_allow(start):
    head = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff"
    good, bad = b",\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0", b",\0\0\0\0\x40\0\x30\0\0\x02\x01D\0"
    decoder = start(cpu=60)
    with pytest.raises(ContentInvalid, match="is truncated"):
        decoder.decode(io.BytesIO(head + good + bad + b";"), "image/gif", None)
    body = head + good * decoding_child._MOST_PICTURES + bad + b";"
    assert decoder.decode(io.BytesIO(body), "image/gif", None) == (1, 1)


def test_an_image_of_another_size_than_stated_is_refused(start):
    with pytest.raises(ContentInvalid, match="it decodes to 64 x 48 pixels, but its header has 48 x 64"):
        check(start(), SMALL, (48, 64))


@pytest.mark.parametrize("body", [b"", b"\xff\xd8\xff", b"<svg/>", encoded("PNG", (64, 48)), encoded("GIF", (64, 48))])
def test_what_is_no_image_of_that_format_is_refused_and_the_child_lives_on(start, body):
    decoder = start()
    check(decoder)
    before = child_of(decoder).pid
    with pytest.raises(ContentInvalid, match="does not decode"):
        check(decoder, body)
    check(decoder)
    assert child_of(decoder).pid == before


def test_eight_threads_share_one_child(start):
    decoder = start()
    wrong = [number % 3 == 0 for number in range(60)]

    def is_refused(bad: bool) -> bool:
        try:
            check(decoder, SMALL[:50] if bad else SMALL)
        except ContentInvalid:
            return True
        return False

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(is_refused, wrong)) == wrong
    assert decoder._child is not None
    assert decoder._child.images == 60


@pytest.mark.system
def test_an_image_whose_decoder_is_killed_is_tried_again_with_the_next(start):
    decoder = start()
    check(decoder)
    child = child_of(decoder)
    child.suspend()
    with ThreadPoolExecutor(1) as pool:
        checked = pool.submit(check, decoder, large(), (4000, 3000))
        _until(lambda: decoder._child.images == 2)
        child.kill()
        checked.result()
    assert child_of(decoder).pid != child.pid


def test_an_image_that_kills_each_decoder_is_refused_and_the_next_one_works(start, monkeypatch, tmp_path):
    decoder = start()
    program = tmp_path / "child.py"
    program.write_text("import os, socket\nsocket.socket(fileno=0).sendall(b'R')\nos.abort()\n")
    with monkeypatch.context() as patch:
        patch.setattr(decoding_child, "__file__", str(program))
        with pytest.raises(ContentInvalid, match="ended with SIGABRT"):
            check(decoder)
    check(decoder)


def test_a_decoder_that_hangs_is_killed_after_its_time_and_the_next_image_works(start):
    decoder = start(quick=0.1)
    for body in (OTHER, large()):
        check(decoder)
        decoder._child._limits = replace(LIMITS, wall=0.5)
        child = child_of(decoder)
        child.suspend()
        with pytest.raises(ContentInvalid, match=r"does not decode within 0\.5 s"):
            check(decoder, body, (64, 48))
        assert not child.is_running()


def test_an_image_that_takes_long_goes_on_beside_the_others_and_a_second_one_is_postponed(start):
    decoder = start()
    check(decoder)
    slow = child_of(decoder)
    slow.suspend()
    decoder._limits = replace(LIMITS, quick=0)
    with ThreadPoolExecutor(1) as pool:
        checked = pool.submit(check, decoder, OTHER)
        _until(lambda: decoder._slow_child is not None)
        decoder._limits = LIMITS
        check(decoder)
        second = child_of(decoder)
        assert second.pid != slow.pid
        decoder._limits = replace(LIMITS, quick=0)
        second.suspend()
        with pytest.raises(DownloadError, match="slow to decode") as postponed:
            check(decoder, THIRD)
        assert not second.is_running()
        with decoder._turn, pytest.raises(DownloadError, match="slow to decode"):
            # Now it is known, and takes nobody's turn.
            check(decoder, THIRD)
        slow.resume()
        checked.result()
    assert not isinstance(postponed.value, ContentInvalid)
    check(decoder, THIRD)
    assert decoder._child is None
    assert not slow.is_running()


def test_images_that_took_long_are_not_remembered_without_end(start, monkeypatch):
    monkeypatch.setattr(decoding, "_MOST_REMEMBERED", 1)
    decoder = start(quick=0)
    for body in (SMALL, OTHER, THIRD):
        check(decoder, body)
    assert len(decoder._slow) == 1


@pytest.mark.system
def test_an_image_that_computes_too_long_is_refused_and_the_next_one_works(start):
    decoder = start(cpu=1)
    with pytest.raises(ContentInvalid, match="within 1 s of computing"):
        check(decoder, slow_jpeg(), (8000, 8000))
    check(decoder)


@pytest.mark.system
@on_linux
def test_time_to_compute_is_counted_anew_for_each_image(start):
    decoder = start(cpu=5)
    check(decoder)
    child = child_of(decoder)
    (first, _), used = child.rlimit(psutil.RLIMIT_CPU), 0.0
    while used < 1.1:
        check(decoder, large(), (4000, 3000))
        used = sum(child.cpu_times()[:2])
    check(decoder)
    assert child.rlimit(psutil.RLIMIT_CPU)[0] > first


@on_linux
def test_an_image_that_takes_too_much_memory_is_refused_and_the_next_one_works(start):
    decoder = start(memory=80_000_000)
    with pytest.raises(ContentInvalid, match="takes too much memory"):
        check(decoder, slow_jpeg(), (8000, 8000))
    check(decoder)


def test_who_waits_too_long_for_its_turn_may_come_again(start):
    decoder = start(wall=0.1)
    with decoder._turn, pytest.raises(DownloadError, match="busy") as caught:
        check(decoder)
    assert not isinstance(caught.value, ContentInvalid)


def test_a_decoder_that_does_not_start_is_not_the_fault_of_the_image(start, monkeypatch):
    monkeypatch.setattr(decoding_child, "__file__", "/nowhere/child.py")
    with pytest.raises(DownloadError, match="does not start") as caught:
        check(start())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(DownloadError, match="cannot start the decoder: No such file") as also:
        check(start())
    assert not isinstance(caught.value, ContentInvalid)
    assert not isinstance(also.value, ContentInvalid)


@on_linux
def test_the_child_knows_no_secret_holds_no_file_and_may_do_little(start, monkeypatch):
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    decoder = start()
    check(decoder)
    child = child_of(decoder)
    assert Path(f"/proc/{child.pid}/environ").read_bytes().replace(b"\0", b"") == b""
    assert [Path(f"/proc/{child.pid}/fd/{fd}").readlink().name for fd in (1, 2)] == ["null", "null"]
    assert {path.name for path in Path(f"/proc/{child.pid}/fd").iterdir()} == {"0", "1", "2"}
    assert child.cwd() == "/"
    assert child.rlimit(psutil.RLIMIT_AS)[0] == LIMITS.memory
    assert child.rlimit(psutil.RLIMIT_FSIZE)[0] == 0
    assert child.rlimit(psutil.RLIMIT_CORE)[0] == 0
    assert 0 < child.rlimit(psutil.RLIMIT_CPU)[0] <= LIMITS.cpu + 2


@on_linux
def test_the_child_stays_small(start):
    decoder = start()
    for _ in range(5):
        check(decoder, large(), (4000, 3000))
    assert child_of(decoder).memory_full_info().pss < 35_000_000


def test_the_child_ends_with_its_parent_even_if_that_is_killed():
    code = (
        "import io, sys, time; from tests.worker.media.test_decoding import *; check(decoding._decoder);"
        "print(child_of(decoding._decoder).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    # Whoever inherits it may be slow to bury it.
    _until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_child_finishes_its_work_when_the_whole_group_is_asked_to_stop(start, number):
    decoder = start()
    check(decoder)
    before = child_of(decoder)
    before.send_signal(number)
    check(decoder)
    assert child_of(decoder).pid == before.pid


def test_a_forked_process_starts_its_own_child_and_leaves_the_other_alone():
    decode(io.BytesIO(SMALL), "image/jpeg", (64, 48))
    inherited = child_of(decoding._decoder)
    code = (
        "import os, sys; from tests.worker.media.test_decoding import *; check(decoding._decoder);"
        "mine = child_of(decoding._decoder); link = decoding._decoder._child.link\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    assert link.fileno() == -1, 'the child would not notice the end of its parent'\n"
        "    check(decoding._decoder); theirs = child_of(decoding._decoder)\n"
        "    os._exit(0 if theirs.pid != mine.pid and theirs.ppid() == os.getpid() else 1)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
        "check(decoding._decoder)\n"
        "assert child_of(decoding._decoder).pid == mine.pid\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=patient(60))
    assert inherited.is_running()


def test_threads_that_fork_meanwhile_leave_no_lock_behind():
    with decoding._decoder._turn:
        pid = os.fork()
        if not pid:
            os._exit(0 if decoding._decoder._turn.acquire(timeout=0) else 1)
    assert os.waitpid(pid, 0)[1] == 0


def _until(condition: Callable[[], bool]) -> None:
    assert wait_for(condition, 30, pause=0.005)


@pytest.mark.parametrize(
    ("kind", "content_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")]
)
def test_a_thumbnail_is_a_small_image_of_the_same_shape(
    start: Callable[..., Decoder], kind: str, content_type: str
) -> None:
    made = start().thumbnail(io.BytesIO(encoded(kind, (640, 320))), content_type, 64)
    assert made is not None
    with Image.open(io.BytesIO(made.webp)) as image:
        assert (image.format, image.size) == ("WEBP", (made.width, made.height)) == ("WEBP", (64, 32))


def test_there_is_no_thumbnail_of_a_film_and_none_of_what_does_not_decode(start: Callable[..., Decoder]) -> None:
    decoder = start()
    assert decoder.thumbnail(io.BytesIO(b"ftyp"), "video/mp4", 64) is None
    with pytest.raises(ContentInvalid, match="does not decode"):
        decoder.thumbnail(io.BytesIO(SMALL[:100]), "image/jpeg", 64)
    assert decoder.decode(io.BytesIO(SMALL), "image/jpeg", (64, 48)) == (64, 48)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(64, 48), (65, 47), (2, 2), (3, 2)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_quadrants_put_together_are_the_image(
    start: Callable[..., Decoder], kind: str, size: tuple[int, int], mode: str
):
    if (kind, mode) == ("JPEG", "RGBA"):
        pytest.skip("JPEG has no transparency")
    out = io.BytesIO()
    Image.effect_noise(size, 80).convert(mode).save(out, kind)
    with Image.open(out) as whole:
        whole.load()
        parts = start().quadrants(out, f"image/{kind.lower()}")
        together = Image.new(whole.mode, size)
        half = (size[0] // 2, size[1] // 2)
        for part, at in zip(parts, [(0, 0), (half[0], 0), (0, half[1]), half], strict=True):
            with Image.open(io.BytesIO(part)) as image:
                assert image.format == "PNG"
                together.paste(image, at)
        assert together.tobytes() == whole.tobytes()


def test_an_image_without_quadrants_is_refused(start: Callable[..., Decoder]):
    decoder = start()
    with pytest.raises(ContentInvalid, match="it has 1 x 9 pixels, and so no quadrants"):
        decoder.quadrants(io.BytesIO(encoded("PNG", (1, 9))), "image/png")
    with pytest.raises(ContentInvalid, match="a file of the type video/mp4 has no quadrants"):
        decoder.quadrants(io.BytesIO(b"..."), "video/mp4")
