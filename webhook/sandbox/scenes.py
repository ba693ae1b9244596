"""Five small landscapes, drawn from a prompt and a seed, so that a grid is worth looking at."""

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

from webhook.sandbox.canvas import Camera, Canvas, Colour, Profile, blend, shift

#: scenes extend this far beyond the frame on each side, so that zooming out and panning show something
MARGIN = 1.0


@dataclass(frozen=True, slots=True)
class Palette:
    sky: tuple[Colour, Colour, Colour]
    light: Colour
    far: Colour
    near: Colour


_PALETTES = (
    Palette(((34, 40, 92), (214, 93, 120), (255, 196, 128)), (255, 238, 196), (176, 92, 128), (28, 22, 52)),
    Palette(((24, 86, 140), (128, 190, 214), (250, 232, 200)), (255, 248, 224), (122, 170, 190), (18, 58, 82)),
    Palette(((14, 20, 54), (62, 60, 128), (196, 120, 172)), (250, 226, 255), (92, 76, 140), (12, 12, 34)),
    Palette(((18, 70, 84), (96, 164, 150), (246, 214, 150)), (255, 244, 206), (92, 148, 132), (12, 46, 48)),
    Palette(((88, 36, 60), (224, 108, 76), (252, 208, 116)), (255, 240, 190), (190, 88, 66), (48, 18, 34)),
    Palette(((40, 52, 84), (136, 152, 184), (232, 214, 216)), (255, 250, 246), (132, 142, 172), (34, 40, 62)),
)


def _hills(rng: random.Random, base: float, height: float, waves: float) -> Profile:
    parts = [(height / 1.7**n, waves * 2.1**n * rng.uniform(0.8, 1.2), rng.uniform(0, math.tau)) for n in range(5)]
    total = sum(part[0] for part in parts)

    def profile(x: float) -> float:
        # Half of each wave is folded upwards, for peaks instead of swell.
        lift = sum(size * (1 - 2 * abs(math.sin(rate * x + phase))) for size, rate, phase in parts)
        return base - height * lift / total

    return profile


def _mountains(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    canvas.sky(palette.sky, bottom=0.7)
    x, y = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.42)
    canvas.glow(x, y, 0.8, palette.light, 0.9)
    canvas.sharpen()
    canvas.disc(x, y, rng.uniform(0.045, 0.09), palette.light)
    for layer in range(5):
        depth = layer / 4
        hills = _hills(rng, 0.5 + 0.11 * layer, 0.16 - 0.012 * layer, 3.2 - 0.2 * layer)
        canvas.ridge(hills, blend((palette.sky[2], palette.far, palette.near), 0.15 + 0.85 * depth))


def _sea(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    horizon, x, radius = rng.uniform(0.52, 0.6), rng.uniform(0.3, 0.7), rng.uniform(0.07, 0.13)
    canvas.sky(palette.sky, bottom=horizon)
    canvas.glow(x, horizon - 0.06, 0.8, palette.light, 0.9)
    canvas.sharpen()
    canvas.disc(x, horizon - rng.uniform(0.0, 0.12), radius, palette.light)
    canvas.fade((blend(palette.sky, 0.8), palette.far, palette.near), top=horizon, bottom=1)
    for row in range(46):
        depth = (row + 0.4) / 46
        y = horizon + (1 - horizon) * depth**1.5
        for _ in range(2):
            middle, width = x + rng.gauss(0, 0.02 + 0.1 * depth), rng.uniform(0.01, 0.05 + 0.1 * depth)
            colour = blend((palette.light, palette.far), rng.uniform(0, 0.3) + 0.6 * depth)
            canvas.box(middle - width, y, middle + width, y + 0.001 + 0.004 * depth, colour)
    boat, size = x + rng.choice((-1, 1)) * rng.uniform(0.12, 0.26), rng.uniform(0.07, 0.12)
    y = horizon + rng.uniform(0.03, 0.1)
    canvas.shape(
        [(boat - size, y), (boat + size, y), (boat + size * 0.7, y + size * 0.3), (boat - size * 0.7, y + size * 0.3)],
        palette.near,
    )
    canvas.shape([(boat, y - size * 1.9), (boat, y - size * 0.1), (boat + size * 0.85, y - size * 0.1)], palette.light)
    canvas.shape(
        [
            (boat - size * 0.07, y - size * 1.5),
            (boat - size * 0.07, y - size * 0.1),
            (boat - size * 0.7, y - size * 0.1),
        ],
        blend((palette.light, palette.far), 0.4),
    )
    for layer in range(2):
        canvas.ridge(_hills(rng, 0.9 + 0.07 * layer, 0.02, 7), blend((palette.far, palette.near), 0.75 + 0.25 * layer))


def _city(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    canvas.sky(palette.sky, bottom=0.8)
    x, y = rng.uniform(0.2, 0.8), rng.uniform(0.16, 0.34)
    canvas.glow(x, y, 0.7, palette.light, 0.8)
    canvas.sharpen()
    canvas.disc(x, y, rng.uniform(0.05, 0.1), palette.light)
    for layer in range(3):
        colour = blend((palette.sky[2], palette.far, palette.near), 0.4 + 0.3 * layer)
        left = -MARGIN
        while left < 1 + MARGIN:
            width = rng.uniform(0.05, 0.11) + 0.02 * layer
            top = 0.82 + 0.02 * layer - rng.uniform(0.1, 0.42 - 0.08 * layer)
            canvas.box(left, top, left + width, 2 + MARGIN, colour)
            if layer:
                _windows(canvas, rng, (left, top, width), palette.light, colour)
            left += width + rng.choice((0, 0, 0.015))


def _windows(canvas: Canvas, rng: random.Random, house: tuple[float, float, float], lit: Colour, wall: Colour) -> None:
    left, top, width = house
    columns = max(2, int(width / 0.022))
    for row in range(13):
        for column in range(columns):
            if rng.random() < 0.4:
                x = left + width * (column + 0.3) / columns
                y = top + 0.02 + row * 0.03
                canvas.box(x, y, x + width * 0.4 / columns, y + 0.014, blend((lit, wall), rng.uniform(0.05, 0.6)))


def _space(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    night = shift(palette.near, 0, 0.5)
    canvas.sky((night, blend((night, palette.sky[0]), 0.7), palette.near), bottom=1)
    for _ in range(4):
        colour = rng.choice((palette.sky[1], palette.far, palette.sky[0], palette.sky[2]))
        canvas.glow(rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.4, 0.7), colour, rng.uniform(0.3, 0.6))
    x, y, radius = rng.uniform(0.32, 0.68), rng.uniform(0.32, 0.48), rng.uniform(0.15, 0.24)
    canvas.glow(x, y, radius * 2.4, palette.light, 0.6)
    canvas.sharpen()
    for _ in range(1000):
        bright = rng.random()
        star = rng.uniform(-MARGIN, 1 + MARGIN), rng.uniform(-MARGIN, 1 + MARGIN)
        canvas.disc(*star, 0.0008 + 0.0024 * bright**5, blend((palette.sky[1], (255, 255, 255)), bright))
    canvas.disc(x, y, radius, palette.far)
    for band in range(28):
        # Smaller discs shifted towards the light make a flat disc look round.
        part = (band + 1) / 29
        shade = blend((palette.far, palette.sky[2], palette.light), part)
        canvas.disc(x - radius * 0.36 * part, y - radius * 0.36 * part, radius * (1 - part * 0.97) ** 0.8, shade)
    ring = [
        (x + math.cos(a) * radius * 1.75, y + math.sin(a) * radius * 0.42 - math.cos(a) * radius * 0.5)
        for a in (math.tau * (step / 90) - 0.12 for step in range(48))
    ]
    canvas.draw.line(
        [canvas.at(*point) for point in ring], fill=palette.light, width=max(1, round(canvas.length(0.008)))
    )


def _forest(canvas: Canvas, palette: Palette, rng: random.Random) -> None:
    canvas.sky(palette.sky, bottom=0.75)
    x, y = rng.uniform(0.3, 0.7), rng.uniform(0.22, 0.4)
    canvas.glow(x, y, 0.85, palette.light, 0.9)
    canvas.sharpen()
    canvas.disc(x, y, rng.uniform(0.05, 0.08), palette.light)
    canvas.ridge(_hills(rng, 0.5, 0.14, 2.6), blend((palette.sky[2], palette.far), 0.5))
    for layer in range(4):
        colour = blend((palette.sky[2], palette.far, palette.near), 0.4 + 0.2 * layer)
        ground = _hills(rng, 0.64 + 0.11 * layer, 0.05, 2.4)
        canvas.ridge(ground, colour)
        left = -MARGIN
        while left < 1 + MARGIN:
            height = (0.09 + 0.045 * layer) * rng.uniform(0.7, 1.5)
            _fir(canvas, left, ground(left) + 0.01, height, colour)
            left += rng.uniform(0.018, 0.05) * (1 + 0.45 * layer)


def _fir(canvas: Canvas, x: float, foot: float, height: float, colour: Colour) -> None:
    if abs(x - canvas.camera.x) > canvas.camera.zoom / 2 + height:
        return
    for part in range(3):
        top, bottom, half = height * (1 - part * 0.27), height * (0.56 - part * 0.28), height * (0.13 + part * 0.07)
        canvas.shape([(x, foot - top), (x + half, foot - bottom), (x - half, foot - bottom)], colour)


Scene = Callable[[Canvas, Palette, random.Random], None]

_SCENES: Mapping[str, Scene] = {
    r"sea|ocean|ship|boat|sail|beach|wave|fish|island|harbou?r|lighthouse|whale|water": _sea,
    r"city|street|tokyo|neon|building|skyline|cyberpunk|car|cafe|house|train|robot": _city,
    r"space|planet|star|moon|galaxy|astronaut|nebula|cosmos|universe|orbit|rocket": _space,
    r"forest|tree|wood|fox|deer|owl|bear|garden|jungle|pine|autumn|cat|bird": _forest,
    r"mountain|alps|volcano|desert|dune|valley|canyon|snow|castle|dragon|landscape": _mountains,
}


def draw_scene(prompt: str, seed: int, side: int, camera: Camera) -> Image.Image:
    """Draw one frame. The prompt selects the scene and its colours, the seed the arrangement."""
    style = random.Random(prompt)
    palette = style.choice(_PALETTES)
    scene = style.choice(list(_SCENES.values()))
    for words, fitting in _SCENES.items():
        if re.search(rf"\b({words})s?\b", prompt, re.IGNORECASE):
            scene = fitting
            break
    rng = random.Random(f"{prompt}/{seed}")
    hue, light = rng.uniform(-0.035, 0.035), rng.uniform(0.92, 1.08)
    top, middle, horizon = (shift(colour, hue, light) for colour in palette.sky)
    shifted = Palette(
        (top, middle, horizon),
        palette.light,
        shift(palette.far, hue, light),
        shift(palette.near, hue, light),
    )
    canvas = Canvas(side, camera)
    scene(canvas, shifted, rng)
    return canvas.finish()
