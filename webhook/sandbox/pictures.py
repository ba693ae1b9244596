"""Images as values: a few numbers from which the same bytes can be rendered on every request."""

import hashlib
import io
import re
import threading
from dataclasses import dataclass, field, replace
from functools import cache

from PIL import Image, ImageDraw, ImageFilter, ImageFont, PngImagePlugin

from webhook.sandbox.canvas import Camera
from webhook.sandbox.scenes import draw_scene

#: below this many pixels a side an image is only a patch of colours, quick to draw, for benchmarks
SMALLEST = 64
CAPTION_LINES = 3

#: drawing an image takes 20 MB, and more threads draw no faster
_ONE_AT_A_TIME = threading.Lock()

_MOVES = {
    "zoom_out_2x": Camera(zoom=2),
    "zoom_out_1_5x": Camera(zoom=1.5),
    "pan_left": Camera(x=0.1),
    "pan_right": Camera(x=0.9),
    "pan_up": Camera(y=0.25),
    "pan_down": Camera(y=0.75),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A grid of four, or one of its quadrants (1 to 4) alone."""

    prompt: str
    seed: int
    action: str = "generate"
    quadrant: int | None = None
    camera: Camera = field(default=Camera())


def is_grid(action: str) -> bool:
    return action not in _MOVES and not action.startswith("upscale")


def follow_up(parent: Picture, action: str, prompt: str, seed: int) -> Picture:
    """Apply an action: upscales enlarge one image, moves show more of it, all others make a new grid."""
    if chosen := re.fullmatch(r"upscale([1-4])", action):
        return replace(parent, action=action, quadrant=int(chosen[1]))
    if action in _MOVES:
        move = _MOVES[action]
        camera = Camera(
            parent.camera.x + (move.x - 0.5) * parent.camera.zoom,
            parent.camera.y + (move.y - 0.5) * parent.camera.zoom,
            parent.camera.zoom * move.zoom,
        )
        return replace(parent, action=action, camera=camera)
    if action.startswith("upscale"):
        return replace(parent, action=action)
    return Picture(prompt=prompt, seed=seed, action=action)


def quarters(grid: Picture) -> tuple[Picture, ...]:
    """Return the four images of a grid."""
    return tuple(replace(grid, quadrant=number) for number in (1, 2, 3, 4))


def takes(picture: Picture, count: int) -> tuple[Picture, ...]:
    """Return the first frames of `count` videos; a grid gives its first image."""
    single = replace(picture, quadrant=picture.quadrant or 1)
    return tuple(
        replace(single, camera=replace(single.camera, zoom=single.camera.zoom * (1 + number / 10)))
        for number in range(count)
    )


def render(picture: Picture, side: int, comment: str, mimetype: str = "image/png") -> bytes:
    """Return a PNG or JPEG of `side` pixels; `comment` becomes a PNG's `Description`, as in Midjourney's own files."""
    with _ONE_AT_A_TIME:
        image = _draw(picture, side)
        return _jpeg(image, comment) if mimetype == "image/jpeg" else _png(image, comment)


def render_progress(picture: Picture, side: int, progress: int) -> bytes:
    """Return the blurred WebP that is shown while a generation is running."""
    blurred = _draw(picture, side).filter(ImageFilter.GaussianBlur(side * (100 - progress) / 2000))
    buffer = io.BytesIO()
    blurred.save(buffer, "WEBP", method=0)
    return buffer.getvalue()


def _draw(picture: Picture, side: int) -> Image.Image:
    if side < SMALLEST:
        return _draw_speck(picture, side)
    if picture.quadrant is not None:
        label = str(picture.quadrant) if is_grid(picture.action) else picture.action.replace("_", " ")
        return _draw_frame(picture, picture.quadrant, side, label)
    grid = Image.new("RGB", (side, side))
    half = side // 2
    for number in range(4):
        frame = _draw_frame(picture, number + 1, half, str(number + 1))
        grid.paste(frame, (number % 2 * half, number // 2 * half))
    return grid


def _draw_frame(picture: Picture, quadrant: int, side: int, label: str) -> Image.Image:
    frame = draw_scene(picture.prompt, picture.seed * 4 + quadrant, side, picture.camera)
    # A single image is shown larger than a quadrant, so its text may be smaller.
    font = _font(max(9, side // (32 if picture.quadrant else 24)))
    _write_caption(frame, picture.prompt, font)
    _write_label(frame, label, font)
    return frame


def _draw_speck(picture: Picture, side: int) -> Image.Image:
    colours = hashlib.sha256(repr(picture).encode()).digest()[:12]
    return Image.frombytes("RGB", (2, 2), colours).resize((side, side), Image.Resampling.BILINEAR)


def _write_caption(frame: Image.Image, text: str, font: ImageFont.FreeTypeFont) -> None:
    side = frame.width
    wrapped = _wrap(text, font, side * 0.88)
    line_height = font.size * 1.3
    top = side * 0.955 - line_height * len(wrapped)
    # The text must be readable on snow as well as at night.
    shade_top = max(0, round(top - side * 0.12))
    shade = Image.linear_gradient("L").point(lambda value: min(215, value * 1.25))
    frame.paste((8, 10, 20), (0, shade_top), shade.resize((side, side - shade_top)))
    draw = ImageDraw.Draw(frame)
    for number, line in enumerate(wrapped):
        draw.text((side * 0.06, top + number * line_height), line, fill=(255, 252, 244), font=font)


def _write_label(frame: Image.Image, label: str, font: ImageFont.FreeTypeFont) -> None:
    height = round(font.size * 1.7)
    width = max(height, round(font.getlength(label) + font.size))
    pill = Image.new("L", (width * 4, height * 4))
    ImageDraw.Draw(pill).rounded_rectangle((0, 0, width * 4 - 1, height * 4 - 1), radius=height * 2, fill=150)
    corner = round(frame.width * 0.04)
    frame.paste((8, 10, 20), (corner, corner), pill.reduce(4))
    middle = (corner + width / 2, corner + height / 2)
    ImageDraw.Draw(frame).text(middle, label, fill=(255, 252, 244), font=font, anchor="mm")


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > CAPTION_LINES:
        lines[CAPTION_LINES - 1 :] = [f"{lines[CAPTION_LINES - 1]} …"]
    return lines


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("this Pillow was built without FreeType; install a wheel from PyPI")
    return font


def _jpeg(image: Image.Image, comment: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, comment=comment.encode("utf-8", "replace"))
    return buffer.getvalue()


def _png(image: Image.Image, comment: str) -> bytes:
    facts = PngImagePlugin.PngInfo()
    facts.add_itxt("Description", comment)
    buffer = io.BytesIO()
    # Level 2 is twice as fast as 1 in zlib-ng for these gradients, and smaller.
    image.save(buffer, "PNG", compress_level=2, pnginfo=facts)
    return buffer.getvalue()
