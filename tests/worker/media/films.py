"""Films as encoders write them, for the tests of the check on them."""

import io
import tempfile
from functools import cache
from pathlib import Path

import av
from PIL import Image

from webhook.sandbox.pictures import Picture
from webhook.sandbox.videos import render_video

_CODINGS = {
    ".mp4": ("libx264", {"preset": "ultrafast", "crf": "40"}),
    ".webm": ("libvpx", {"deadline": "realtime", "cpu-used": "8"}),
}


@cache
def sandbox_film() -> bytes:
    """Twelve frames of 64 x 64 pixels, the index in front."""
    return render_video(Picture(prompt="a red fox", seed=7), 64, 1.0, "a red fox")


@cache
def film(
    movflags: str = "",
    size: tuple[int, int] = (64, 48),
    frames: int = 12,
    *,
    sound: bool = False,
    container: str = "mp4",
    live: bool = False,
) -> bytes:
    """Noise at 12 frames a second; without flags the index of MP4 is at the end. `live`: no element states a length."""
    options = {"movflags": movflags} if movflags else {"live": "1"} if live else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"film.{container}")
        _encode(path, options, size, frames, sound=sound)
        return path.read_bytes()


def _encode(path: Path, options: dict[str, str], size: tuple[int, int], frames: int, *, sound: bool) -> None:
    with av.open(path, "w", options=options) as container:
        codec, coding = _CODINGS.get(path.suffix, _CODINGS[".mp4"])
        pictures = container.add_stream(codec, 12, options={**coding, "g": "4"})
        pictures.width, pictures.height, pictures.pix_fmt, pictures.thread_count = *size, "yuv420p", 1
        tone = container.add_stream("aac", 44_100) if sound else None
        for number in range(frames):
            image = Image.effect_noise(size, 10 + number).convert("RGB")
            container.mux(pictures.encode(av.VideoFrame.from_image(image)))
            if tone is not None:
                silence = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
                for plane in silence.planes:
                    plane.update(bytes(plane.buffer_size))
                silence.sample_rate, silence.pts = 44_100, number * 1024
                container.mux(tone.encode(silence))
        for stream in (pictures, tone):
            if stream is not None:
                container.mux(stream.encode())


def played(body: bytes) -> list[av.VideoFrame]:
    """Every frame of a film, decoded: the proof that it is one."""
    with av.open(io.BytesIO(body)) as container:
        return list(container.decode(video=0))
