"""Maps the buttons under an image from Midjourney's Discord bot to our actions.

Wire facts: CustomComponentModel.cs and SubmitController.cs of trueai-org/midjourney-proxy for the ids. An id contains
the image's own id, so it comes from the parent's task and is never constructed here.
"""

import re

from worker.providers.reading import identifier

_WORDS = (
    (re.compile(r"MJ::JOB::upsample::([1-4])::.+"), r"upscale\1"),
    (re.compile(r"MJ::JOB::variation::([1-4])::.+"), r"variation\1"),
    (re.compile(r"MJ::JOB::reroll::.+"), "reroll"),
    # upsample_v5_2x, upsample_v6_2x_subtle, upsample_v6r1_2x_creative, …
    (re.compile(r"MJ::JOB::upsample_v[0-9a-z.]+_([24]x)::.+"), r"upscale_\1"),
    (re.compile(r"MJ::JOB::upsample_v[0-9a-z._]+_(subtle|creative)::.+"), r"upscale_\1"),
    (re.compile(r"MJ::JOB::low_variation::.+"), "variation_subtle"),
    (re.compile(r"MJ::JOB::high_variation::.+"), "variation_strong"),
    (re.compile(r"MJ::JOB::(pan_(?:left|right|up|down))::.+"), r"\1"),
    # The percentage of the new image that the old one fills; 100 only makes it square.
    (re.compile(r"MJ::Outpaint::50::.+"), "zoom_out_2x"),
    (re.compile(r"MJ::Outpaint::75::.+"), "zoom_out_1_5x"),
    (re.compile(r"MJ::Outpaint::100::.+"), "square"),
    (re.compile(r"MJ::CustomZoom::.+"), "zoom_custom"),
    (re.compile(r"MJ::Inpaint::.+"), "variation_region"),
)


def action_of(custom_id: str) -> str | None:
    """Return our action for a button; None for an unknown button (a bookmark, a link)."""
    for pattern, word in _WORDS:
        if found := pattern.fullmatch(custom_id):
            return found.expand(word)
    return None


def buttons_of(buttons: object) -> dict[str, str]:
    """Return the customId of each action that a task offers, from its list of buttons as received (any JSON value)."""
    offered: dict[str, str] = {}
    for button in buttons if isinstance(buttons, list) else []:
        custom_id = button.get("customId") if isinstance(button, dict) else None
        action = action_of(custom_id) if isinstance(custom_id, str) and identifier(custom_id) else None
        if action:
            offered.setdefault(action, str(custom_id))
    return offered
