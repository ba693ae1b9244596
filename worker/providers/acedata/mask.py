"""The mask of a region, as Ace Data Cloud's Imagine guide requires: a grayscale JPEG in Base64 without a prefix."""

import base64
import io

from worker.errors import RequestInvalid

#: width x height; Midjourney's largest upscale has 17 million
MAX_PIXELS = 20_000_000


def as_mask(picture: str) -> str:
    """Return a `data:` link as Base64 of a JPEG of the same size, white where to redraw; return web links unchanged.

    Transparent pixels count as black, as in the guide's mask tool. Raises RequestInvalid.
    """
    head, comma, content = picture.partition(",")
    if not comma or not head.startswith("data:"):
        return picture
    # Pillow takes a while to import, and few requests have a mask.
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415

    try:
        with Image.open(io.BytesIO(base64.b64decode(content)), formats=("PNG", "JPEG", "WEBP")) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height} pixels"
                raise RequestInvalid(f"option mask: {size} are more than any result has", about=("mask",))
            drawn = image.convert("RGBA")
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        what = f"the image is not a readable PNG, JPEG or WebP ({error})"
        raise RequestInvalid(f"option mask: {what}", about=("mask",)) from None
    black = Image.new("RGBA", drawn.size, "black")
    jpeg = io.BytesIO()
    Image.alpha_composite(black, drawn).convert("L").save(jpeg, "JPEG", quality=95)
    return base64.b64encode(jpeg.getvalue()).decode()
