import io
import subprocess
import sys

import av
import pytest
from PIL import Image, ImageChops, ImageStat

from tests.webhook.sandbox.helpers import open_picture
from webhook.sandbox.pictures import Picture, render
from webhook.sandbox.videos import render_video

FOX = Picture(prompt="a red fox", seed=7, quadrant=1)


def opened(body: bytes):
    return av.open(io.BytesIO(body))


@pytest.mark.parametrize(("side", "expected"), [(1, 16), (16, 16), (65, 64), (256, 256)])
@pytest.mark.parametrize(("seconds", "frames"), [(0, 1), (1.0, 12), (2.5, 30)])
def test_a_film_plays_at_the_asked_size_and_length(side: int, expected: int, seconds: float, frames: int):
    with opened(render_video(FOX, side, seconds, "")) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert film.duration == pytest.approx(frames / 12 * av.time_base, abs=1)
        played = list(film.decode(stream))
    assert [(frame.width, frame.height) for frame in played] == [(expected, expected)] * frames


def test_a_film_begins_with_its_picture_and_moves_from_there():
    with opened(render_video(FOX, 256, 1.0, "")) as film:
        frames = [frame.to_image() for frame in film.decode(video=0)]
    picture = open_picture(render(FOX, 256, "")).convert("RGB")
    distances = [_difference(frame, picture) for frame in frames]
    assert distances[0] < 10
    assert distances[0] < distances[3] < distances[-1]


def test_a_film_can_be_played_before_it_has_come_whole():
    body = render_video(FOX, 64, 1.0, "")
    assert body.index(b"moov") < body.index(b"mdat")


def test_the_same_film_has_the_same_bytes_each_time():
    assert render_video(FOX, 64, 1.0, "x") == render_video(FOX, 64, 1.0, "x")


@pytest.mark.parametrize("comment", ["a red fox Job ID: 1", "猫", "", "x" * 3000])
def test_the_film_carries_its_comment(comment: str):
    with opened(render_video(FOX, 16, 0, comment)) as film:
        assert film.metadata.get("comment", "") == comment


@pytest.mark.parametrize("comment", ["a\0b", "\ud800 alone"])
def test_no_prompt_breaks_a_film(comment: str):
    with opened(render_video(Picture(prompt=comment.replace("\ud800", ""), seed=7), 16, 0, comment)) as film:
        assert film.metadata["comment"][0] == comment.replace("\ud800", "?")[0]


@pytest.mark.processes
def test_the_encoder_is_loaded_with_the_first_film_only():
    code = "import sys, webhook.sandbox.videos; sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _difference(one: Image.Image, other: Image.Image) -> float:
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean)
