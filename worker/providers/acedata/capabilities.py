"""What Ace Data Cloud's API can express, by operation.

Wire facts: the vendor's API reference (AceDataCloud/Docs, openapi/midjourney.json) for the fields, its own clients
(AceDataCloud/MidjourneyMCP, AceDataCloud/Nexior) for actions, video speeds and masks. Options without a field go into
the prompt, as in the vendor's guide.
"""

from collections.abc import Mapping

from worker.generation import Operation
from worker.providers.capability import Capability, Prompt
from worker.providers.options import (
    ASPECT_RATIO,
    CHAOS,
    FLAG,
    OMNI_WEIGHT,
    SECONDS,
    SEED,
    SPEED,
    STYLIZE,
    VERSION,
    VIDEO_SIZE,
    WEIRD,
    level,
    one_of,
    picture,
    pictures,
)

_FOLLOW_UP = {
    "speed": SPEED.as_field("mode"),
    "split_images": FLAG.as_field("split_images"),
    "translation": FLAG.as_field("translation"),
    "timeout": SECONDS.as_field("timeout"),
}
_MASK = picture(files=True).as_field("mask")
_IMAGINE = _FOLLOW_UP | {
    "images": pictures(1, 5).as_lead(),
    "style_images": pictures(1, 5).as_flag("--sref"),
    "omni_image": picture().as_flag("--oref"),
    "omni_weight": OMNI_WEIGHT.as_flag("--ow"),
    "version": VERSION.as_field("version"),
    "quality": level(".25", ".5", "1", "2", "4").as_field("quality"),
    "aspect_ratio": ASPECT_RATIO.as_flag("--ar"),
    "stylize": STYLIZE.as_flag("--stylize"),
    "weird": WEIRD.as_flag("--weird"),
    "chaos": CHAOS.as_flag("--chaos"),
    "seed": SEED.as_flag("--seed"),
    "hd": FLAG.as_field("hd"),
    "style_reference": FLAG.as_field("style_reference"),
    "moodboard": FLAG.as_field("moodboard"),
}
_EDIT = {
    "images": picture().as_field("image_url"),
    "mask": _MASK,
    "speed": SPEED.as_field("mode"),
    "split_images": FLAG.as_field("split_images"),
}
_VIDEO_EXTEND = {
    "end_image": picture().as_field("end_image_url"),
    "speed": one_of("fast", "turbo").as_field("mode"),
    "video_size": VIDEO_SIZE.as_field("resolution"),
}
_VIDEO = _VIDEO_EXTEND | {"images": picture().as_field("image_url"), "loop": FLAG.as_field("loop")}
_IMAGE = frozenset({"images"})


def _follow_up(*actions: str) -> Capability:
    return Capability(_FOLLOW_UP, Prompt.OPTIONAL, actions=actions)


CAPABILITIES: Mapping[Operation, Capability] = {
    Operation.IMAGINE: Capability(_IMAGINE),
    Operation.BLEND: Capability(_IMAGINE | {"images": pictures(2, 5).as_lead()}, Prompt.OPTIONAL, needs=_IMAGE),
    Operation.UPSCALE: _follow_up(
        *("upscale1", "upscale2", "upscale3", "upscale4"),
        *("upscale_2x", "upscale_4x", "upscale_subtle", "upscale_creative"),
        *("redo_upscale_2x", "redo_upscale_4x", "redo_upscale_subtle", "redo_upscale_creative"),
    ),
    Operation.VARIATION: _follow_up(
        *("variation1", "variation2", "variation3", "variation4"),
        *("variation_subtle", "variation_strong"),
    ),
    Operation.REROLL: _follow_up("reroll"),
    Operation.PAN: _follow_up("pan_left", "pan_right", "pan_up", "pan_down"),
    Operation.ZOOM: _follow_up("zoom_out_2x", "zoom_out_1_5x", "square"),
    Operation.REGION: Capability(
        _FOLLOW_UP | {"mask": _MASK}, Prompt.OPTIONAL, needs=frozenset({"mask"}), actions=("variation_region",)
    ),
    Operation.EDIT: Capability(_EDIT, needs=_IMAGE),
    Operation.VIDEO: Capability(_VIDEO, needs=_IMAGE),
    Operation.VIDEO_EXTEND: Capability(_VIDEO_EXTEND, actions=("extend1", "extend2", "extend3", "extend4")),
    Operation.DESCRIBE: Capability({"images": picture().as_field("image_url")}, Prompt.UNUSED, needs=_IMAGE),
    Operation.TRANSLATE: Capability(),
    Operation.SHORTEN: Capability(),
    Operation.SEED: Capability(prompt=Prompt.UNUSED, actions=("seed",)),
}

IMAGINE = "/midjourney/imagine"
#: operation → path; all other operations use IMAGINE
PATHS: Mapping[Operation, str] = {
    Operation.EDIT: "/midjourney/edits",
    Operation.VIDEO: "/midjourney/videos",
    Operation.VIDEO_EXTEND: "/midjourney/videos",
}

#: the documented fields of all requests except texts, without the callback fields
FIELDS = frozenset(
    {"prompt", "action", "image_id", "video_id", "video_index"}
    | {option.field for capability in CAPABILITIES.values() for option in capability.options.values() if option.field}
)
#: defaults of missing fields; all other fields default to off
DEFAULTS: Mapping[str, object] = {"action": "generate", "mode": "fast", "timeout": 480, "quality": "1"}

#: operation → the reply's field with the whole result; these operations have no task, only this reply
TEXTS: Mapping[Operation, str] = {
    Operation.DESCRIBE: "descriptions",
    Operation.TRANSLATE: "content",
    Operation.SHORTEN: "prompts",
    Operation.SEED: "seed",
}
