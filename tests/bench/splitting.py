"""P16: the quadrants of a grid, against the same decoding and four saves by Pillow alone."""

import io
import statistics
import time
from collections.abc import Callable

from PIL import Image

from worker.media.decoding import Decoder

#: pixels a side, as Midjourney's grids have
SIZE = 2048
ROUNDS = 5


def run() -> dict[str, float]:
    """Median seconds of both, in turns, and their ratio."""
    content = _grid()
    decoder = Decoder()
    times: dict[str, list[float]] = {"ours": [], "pillow": []}
    try:
        decoder.quadrants(io.BytesIO(content), "image/png")  # the child is kept, so its start is not counted
        for _ in range(ROUNDS):
            times["ours"].append(_seconds(lambda: decoder.quadrants(io.BytesIO(content), "image/png")))
            times["pillow"].append(_seconds(lambda: _by_pillow(content)))
    finally:
        decoder.close()
    ours, pillow = statistics.median(times["ours"]), statistics.median(times["pillow"])
    return {"ours": ours, "pillow": pillow, "ratio": ours / pillow}


def _grid() -> bytes:
    """An image with areas, gradients and grain."""
    areas = Image.effect_mandelbrot((SIZE, SIZE), (-2, -1.5, 1, 1.5), 100)
    gradient = Image.linear_gradient("L").resize((SIZE, SIZE))
    file = io.BytesIO()
    Image.merge("RGB", (areas, gradient, Image.effect_noise((SIZE, SIZE), 20))).save(file, "PNG")
    return file.getvalue()


def _by_pillow(content: bytes) -> None:
    half = SIZE // 2
    with Image.open(io.BytesIO(content)) as grid:
        for left, top in ((0, 0), (half, 0), (0, half), (half, half)):
            grid.crop((left, top, left + half, top + half)).save(io.BytesIO(), "PNG")


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
