"""Shared by vendors that pass prompts to Midjourney's Discord bot: the bot's parameters and its actions on images.

Names and spelling of the parameters: Midjourney's own documentation (Parameter List).
"""

import re

from worker.errors import RequestInvalid
from worker.generation import GenerationRequest
from worker.providers.capability import Terms
from worker.providers.options import (
    ASPECT_RATIO,
    CHAOS,
    FLAG,
    OMNI_WEIGHT,
    SEED,
    STYLIZE,
    VERSION,
    WEIRD,
    level,
    one_of,
    picture,
    pictures,
)

IMAGINE = {
    "images": pictures(1, 5, files=True),
    "style_images": pictures(1, 5).as_flag("--sref"),
    "omni_image": picture().as_flag("--oref"),
    "omni_weight": OMNI_WEIGHT.as_flag("--ow"),
    "version": VERSION,
    "quality": level(".25", ".5", "1", "2", "4").as_flag("--q"),
    "aspect_ratio": ASPECT_RATIO.as_flag("--ar"),
    "stylize": STYLIZE.as_flag("--stylize"),
    "weird": WEIRD.as_flag("--weird"),
    "chaos": CHAOS.as_flag("--chaos"),
    "seed": SEED.as_flag("--seed"),
    "hd": FLAG.as_flag("--hd"),
}
BLEND = {
    "images": pictures(2, 5, links=False, files=True).as_field("base64Array"),
    "aspect_ratio": one_of("2:3", "1:1", "3:2").as_field(
        "dimensions", {"2:3": "PORTRAIT", "1:1": "SQUARE", "3:2": "LANDSCAPE"}
    ),
}
DESCRIBE = {"images": picture(links=False, files=True).as_field("base64")}

#: the actions on a grid of four images
GRID = (
    *("upscale1", "upscale2", "upscale3", "upscale4"),
    *("variation1", "variation2", "variation3", "variation4"),
    "reroll",
)
UPSCALE = (*GRID[:4], "upscale_2x", "upscale_4x", "upscale_subtle", "upscale_creative")
VARIATION = (*GRID[4:8], "variation_subtle", "variation_strong")
PAN = ("pan_left", "pan_right", "pan_up", "pan_down")
ZOOM = ("zoom_out_2x", "zoom_out_1_5x", "square")


def compose(terms: Terms) -> tuple[str, list[str]]:
    """Return an imagine's whole prompt, starting with its image links, and the images given as files."""
    given = terms.placed.get("images")
    images = [str(image) for image in given] if isinstance(given, list) else []
    files = [image for image in images if image.startswith("data:")]
    parts = [*(image for image in images if image not in files), terms.prompt]
    if version := terms.placed.get("version"):
        niji = re.fullmatch(r"niji\s*(.+)", str(version), re.IGNORECASE)
        parts.append(f"--niji {niji[1]}" if niji else f"--v {version}")
    if speed := terms.placed.get("speed"):
        parts.append(f"--{speed}")
    return " ".join(parts), files


def button_of(request: GenerationRequest, title: str) -> str:
    """Return the customId of the follow-up's button under its parent. Raises RequestInvalid if there is none."""
    try:
        return request.parent[request.action or ""]
    except KeyError:
        raise RequestInvalid(f"the parent does not offer {request.action} at {title}") from None


def task_of(request: GenerationRequest) -> str:
    """Return the parent's task_id. Raises RequestInvalid if there is none."""
    try:
        return request.parent["task_id"]
    except KeyError:
        raise RequestInvalid(f"{request.action} needs the task_id of a parent that has succeeded") from None
