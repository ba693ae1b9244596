"""Videos: the camera moves slowly towards the centre of an image; encoded as the vendors' videos are."""

import io
import tempfile
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from PIL import Image

from webhook.sandbox.pictures import Picture, render

FRAMES_PER_SECOND = 12
#: pixels; H.264 halves the resolution of colours, so a side must be even, and codes in blocks of 16
SMALLEST = 16
#: how much of the image's side the last frame shows
_NEAREST = 0.75

#: encoding a video takes up to 40 MB
_ONE_AT_A_TIME = threading.Lock()


def render_video(picture: Picture, side: int, seconds: float, comment: str) -> bytes:
    """Return an H.264 MP4 of `side` pixels (made even, at least 16) that can be played while it downloads.

    The same arguments give the same bytes. `comment` is stored in the file's metadata.
    """
    # Imported here, so that the encoder's 20 MB are loaded only if a video is requested.
    import av  # noqa: PLC0415

    side = max(SMALLEST, side - side % 2)
    # A file, because the muxer reopens it to move the index to the front.
    with _ONE_AT_A_TIME, tempfile.TemporaryDirectory(prefix="darkroom-video-") as folder:
        path = Path(folder, "video.mp4")
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        with av.open(path, "w", options=options, metadata_errors="replace") as container:
            container.metadata["comment"] = comment
            stream = container.add_stream("libx264", FRAMES_PER_SECOND, options={"preset": "ultrafast", "crf": "26"})
            stream.width = stream.height = side
            stream.pix_fmt = "yuv420p"
            stream.thread_count = 1
            stream.time_base = Fraction(1, FRAMES_PER_SECOND)
            for frame in _frames(picture, side, max(1, round(seconds * FRAMES_PER_SECOND))):
                container.mux(stream.encode(av.VideoFrame.from_image(frame)))  # type: ignore[no-untyped-call]
            container.mux(stream.encode())
        return path.read_bytes()


def _frames(picture: Picture, side: int, count: int) -> Iterator[Image.Image]:
    with Image.open(io.BytesIO(render(picture, side, ""))) as still:
        for number in range(count):
            margin = side * (1 - _NEAREST) / 2 * number / count
            seen = (margin, margin, side - margin, side - margin)
            yield still.resize((side, side), Image.Resampling.BILINEAR, seen)
