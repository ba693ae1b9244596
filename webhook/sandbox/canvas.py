"""Drawing tools for the sandbox's images: colours, a camera, and a canvas that is addressed in frames."""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Profile = Callable[[float], float]

SUPERSAMPLING = 2
COARSE = 4


@dataclass(frozen=True, slots=True)
class Camera:
    """The visible part of a scene: its centre, and the width of the view in frames."""

    x: float = 0.5
    y: float = 0.5
    zoom: float = 1.0


def blend(colours: tuple[Colour, ...], at: float) -> Colour:
    position = min(max(at, 0.0), 1.0) * (len(colours) - 1)
    first = min(int(position), len(colours) - 2)
    part = position - first
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(colours[first], colours[first + 1], strict=True))
    return red, green, blue


def shift(colour: Colour, hue: float, light: float) -> Colour:
    h, lightness, s = colorsys.rgb_to_hls(*(channel / 255 for channel in colour))
    red, green, blue = colorsys.hls_to_rgb((h + hue) % 1, min(1.0, lightness * light), s)
    return round(red * 255), round(green * 255), round(blue * 255)


class Canvas:
    """A square canvas addressed in frames: (0, 0) is the upper left corner of the frame, (1, 1) the lower right one.

    Soft shapes (`sky`, `glow`) come first and are drawn small, because they would take most of the time. Shapes with
    edges are drawn after `sharpen`, oversized and reduced at the end, because Pillow's edges are jagged.
    """

    def __init__(self, side: int, camera: Camera) -> None:
        self.final_side = side
        self.side = side // COARSE
        self.camera = camera
        self.image = Image.new("RGB", (self.side, self.side))
        self.draw = ImageDraw.Draw(self.image)

    def sharpen(self) -> None:
        smooth = self.image.resize((self.final_side, self.final_side), Image.Resampling.BILINEAR)
        self.side = self.final_side * SUPERSAMPLING
        self.image = smooth.resize((self.side, self.side), Image.Resampling.NEAREST)
        self.draw = ImageDraw.Draw(self.image)

    def at(self, x: float, y: float) -> tuple[float, float]:
        camera = self.camera
        scale = self.side / camera.zoom
        return (x - camera.x) * scale + self.side / 2, (y - camera.y) * scale + self.side / 2

    def length(self, value: float) -> float:
        return value * self.side / self.camera.zoom

    def sky(self, colours: tuple[Colour, ...], *, bottom: float) -> None:
        self.image.paste(colours[0], (0, 0, self.side, self.side))
        self.fade(colours, top=0, bottom=bottom)

    def fade(self, colours: tuple[Colour, ...], *, top: float, bottom: float) -> None:
        """Fill from `top` downwards with a gradient that reaches its last colour at `bottom`."""
        upper, lower = (round(self.at(0, y)[1]) for y in (top, bottom))
        strip = Image.new("RGB", (1, 64))
        strip.putdata([blend(colours, step / 63) for step in range(64)])
        self.image.paste(strip.resize((self.side, max(1, lower - upper)), Image.Resampling.BILINEAR), (0, upper))
        self.image.paste(colours[-1], (0, min(lower, self.side), self.side, self.side))

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        size = max(2, round(self.length(radius * 2)))
        # Pillow's gradient reaches 180 where it meets the edge of its square.
        falloff = Image.radial_gradient("L").point(lambda value: max(0, 1 - value / 180) ** 1.6 * 255 * strength)
        left, top = self.at(x, y)
        mask = falloff.resize((size, size), Image.Resampling.BILINEAR)
        self.image.paste(colour, (round(left - size / 2), round(top - size / 2)), mask)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        left, top = self.at(x - radius, y - radius)
        right, bottom = self.at(x + radius, y + radius)
        if right < 0 or bottom < 0 or left > self.side or top > self.side:
            return
        self.draw.ellipse((left, top, right, bottom), fill=colour)

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        x, y = self.at(left, top)
        end_x, end_y = self.at(right, bottom)
        if end_x >= 0 and x <= self.side:
            self.draw.rectangle((x, y, max(x, end_x), max(y, end_y)), fill=colour)

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        self.draw.polygon([self.at(x, y) for x, y in points], fill=colour)

    def ridge(self, profile: Profile, colour: Colour) -> None:
        """Fill everything below a line of hills."""
        left = self.camera.x - self.camera.zoom / 2
        steps = 120
        line = [(left + self.camera.zoom * step / steps, 0.0) for step in range(steps + 1)]
        ground = self.camera.y + self.camera.zoom
        self.shape([(left, ground), *((x, profile(x)) for x, _ in line), (line[-1][0], ground)], colour)

    def finish(self) -> Image.Image:
        return self.image.reduce(SUPERSAMPLING)
