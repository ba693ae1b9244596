"""What Kie.ai's API can express, by operation.

Wire facts: docs.kie.ai/mj-api (generate-mj-image, upscale, vary, extend-mj-video); docs.midapi.ai has the same pages.
"""

from collections.abc import Mapping
from dataclasses import replace

from worker.generation import Operation
from worker.providers.capability import Capability, Prompt
from worker.providers.options import (
    ASPECT_RATIO,
    FLAG,
    MOTION,
    OMNI_WEIGHT,
    SPEED,
    STYLIZE,
    VERSION,
    VIDEO_SIZE,
    WEIRD,
    Option,
    level,
    listed,
    pictures,
    text,
    whole,
)


def _only(option: Option, field: str, *words: str) -> Option:
    return replace(option.as_field(field, dict(zip(words, words, strict=True))), allowed=listed(words))


_WATERMARK = {"watermark": text("a text").as_field("waterMark")}
_GENERATE = _WATERMARK | {
    "aspect_ratio": _only(
        ASPECT_RATIO,
        "aspectRatio",
        *("1:2", "9:16", "2:3", "3:4", "5:6", "6:5", "4:3", "3:2", "1:1", "16:9", "2:1"),
    ),
    "version": _only(VERSION, "version", "7", "6.1", "6", "5.2", "5.1", "niji6"),
    "chaos": whole(0, 100, 5).as_field("variety"),
    "stylize": STYLIZE.as_field("stylization"),
    "weird": WEIRD.as_field("weirdness"),
    "translation": FLAG.as_field("enableTranslation"),
}
_IMAGINE = _GENERATE | {
    # One field for all three: the task type says what the images are for.
    "images": pictures(1, 5).as_field("fileUrls"),
    "style_images": pictures(1, 5).as_field("fileUrls"),
    "omni_image": pictures(1, 1).as_field("fileUrls"),
    "omni_weight": OMNI_WEIGHT.as_field("ow"),
    "speed": SPEED.as_field("speed", {"relax": "relaxed", "fast": "fast", "turbo": "turbo"}),
}
_VIDEO = _GENERATE | {
    "images": pictures(1, 1).as_field("fileUrls"),
    "video_size": VIDEO_SIZE,
    "motion": MOTION.as_field("motion"),
    "videos": level("1", "2", "4").as_field("videoBatchSize", {"1": 1, "2": 2, "4": 4}),
}

UPSCALES = ("upscale1", "upscale2", "upscale3", "upscale4")
VARIATIONS = ("variation1", "variation2", "variation3", "variation4")
EXTENSIONS = ("extend1", "extend2", "extend3", "extend4")

CAPABILITIES: Mapping[Operation, Capability] = {
    Operation.IMAGINE: Capability(_IMAGINE),
    Operation.UPSCALE: Capability(_WATERMARK, Prompt.UNUSED, actions=UPSCALES),
    Operation.VARIATION: Capability(_WATERMARK, Prompt.UNUSED, actions=VARIATIONS),
    Operation.VIDEO: Capability(_VIDEO, needs=frozenset({"images"})),
    Operation.VIDEO_EXTEND: Capability(_WATERMARK, Prompt.OPTIONAL, actions=EXTENSIONS),
}
