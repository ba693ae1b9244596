"""The fields that Kie documents for each endpoint, and their allowed values."""

import re
from collections.abc import Callable, Mapping
from typing import Any

#: returns what is wrong with a value that is set, or None
Check = Callable[[Any], str | None]


def _text(most: int | None = None) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return "must be a string"
        if re.search("[\ud800-\udfff]", value):
            return "is not valid Unicode"
        return f"must have at most {most} characters" if most is not None and len(value) > most else None

    return check


def _one_of(*choices: str | int) -> Check:
    def check(value: Any) -> str | None:
        # The type as well, for True equals 1.
        known = any(type(value) is type(choice) and value == choice for choice in choices)
        return None if known else f"must be one of {', '.join(map(str, choices))}"

    return check


def _whole(least: int, most: int, step: int = 1) -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most or value % step:
            multiple = f" and a multiple of {step}" if step > 1 else ""
            return f"must be an integer from {least} to {most}{multiple}"
        return None

    return check


def _flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _link(value: Any) -> str | None:
    valid = isinstance(value, str) and re.fullmatch(r"https?://[^/\s]+\S*", value) and not _text()(value)
    return None if valid else "must be an http:// or https:// URL"


def _links(value: Any) -> str | None:
    valid = isinstance(value, list) and not any(map(_link, value))
    return None if valid else "must be an array of http:// or https:// URLs"


VIDEO_TYPES = ("mj_video", "mj_video_hd")
PICTURE_TYPES = ("mj_txt2img", "mj_img2img", "mj_style_reference", "mj_omni_reference")
EXTEND_TYPES = ("mj_video_extend_manual", "mj_video_extend_auto")
MAX_PROMPT = 2000

_COMMON: Mapping[str, Check] = {"waterMark": _text(), "callBackUrl": _link}
GENERATE: Mapping[str, Check] = {
    "taskType": _one_of(*PICTURE_TYPES, *VIDEO_TYPES),
    "prompt": _text(MAX_PROMPT),
    "speed": _one_of("relaxed", "fast", "turbo"),
    "fileUrl": _link,
    "fileUrls": _links,
    "aspectRatio": _one_of("1:2", "9:16", "2:3", "3:4", "5:6", "6:5", "4:3", "3:2", "1:1", "16:9", "2:1"),
    "version": _one_of("7", "6.1", "6", "5.2", "5.1", "niji6"),
    # Stylization and weirdness have steps too, but only as a recommendation.
    "variety": _whole(0, 100, 5),
    "stylization": _whole(0, 1000),
    "weirdness": _whole(0, 3000),
    "ow": _whole(1, 1000),
    "enableTranslation": _flag,
    "videoBatchSize": _one_of(1, 2, 4),
    "motion": _one_of("high", "low"),
    **_COMMON,
}
UPSCALE: Mapping[str, Check] = {"taskId": _text(), "imageIndex": _whole(0, 3), **_COMMON}
# The page's text and example count from 1, its schema from 0.
VARY: Mapping[str, Check] = {**UPSCALE, "imageIndex": _whole(0, 4)}
EXTEND: Mapping[str, Check] = {
    "taskType": _one_of(*EXTEND_TYPES),
    "taskId": _text(),
    "index": _whole(0, 3),
    "prompt": _text(MAX_PROMPT),
    **_COMMON,
}
DOWNLOAD: Mapping[str, Check] = {"url": _link}

#: options that only some types accept; the page's own example sends them all, so other types ignore them
TAKEN_BY: Mapping[str, tuple[str, ...]] = {
    "speed": ("mj_txt2img", "mj_img2img", "mj_style_reference"),
    "fileUrl": ("mj_img2img", "mj_style_reference", "mj_omni_reference", *VIDEO_TYPES),
    "fileUrls": ("mj_img2img", "mj_style_reference", "mj_omni_reference", *VIDEO_TYPES),
    "ow": ("mj_omni_reference",),
    "videoBatchSize": VIDEO_TYPES,
    "motion": VIDEO_TYPES,
}
