"""Extras: options that change the price of an image, besides speed and version. Pure.

The highest known factor of each extra, used for the reservation if the price file has none:

    extra            factor  where, and the source
    hd               4       V8.0: AceDataCloud/MidjourneyMCP, prompts/__init__.py of 2026-08-18; less in V8.1
    quality          4       for 4 in V8.0 (the same); else its number (Midjourney's page: GPU time is proportional)
    style_reference  4       V8.0: Ace Data Cloud's reference of /midjourney/imagine
    moodboard        4       V8.0: the same, which treats image prompts of V8.0 as moodboards too

Factors multiply: `hd` with `quality=4` is 16 (MidjourneyMCP). V8.1 bills style references and moodboards at the rate of
the resolution (MidjourneyMCP). No page says that they cost more in older versions; nothing is known about V8.2.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from worker.generation import GenerationRequest, Operation
from worker.prompt_flags import flags_of, plain_version

SPEEDS = ("relax", "fast", "turbo")
#: extras that are on or off; only `quality` has values
SWITCHES = ("hd", "style_reference", "moodboard")
#: levels of `quality`; 1 is the default and not an extra
LEVELS: Mapping[float, str] = {0.25: ".25", 0.5: ".5", 2: "2", 4: "4"}
#: integer factors
_HIGHEST = {"hd": 4, "quality=2": 2, "quality=4": 4, "style_reference": 4, "moodboard": 4}
_FREE_BEFORE_8 = {"style_reference", "moodboard"}
_OLD = re.compile(r"niji.*|8\.1|[1-7](\.[0-9]+)?")

#: operations that produce no image
TEXTS = {Operation.DESCRIBE, Operation.SHORTEN, Operation.TRANSLATE, Operation.SEED}
_FLAGS = {"hd": "hd", "sref": "style_reference", "profile": "moodboard"}
_OPTIONS = {**{name: name for name in SWITCHES}, "style_images": "style_reference"}
_LINK = re.compile(r"(?<!\S)https?://", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]*\.?[0-9]+")


def highest_known(extra: str, version: str | None) -> int:
    """Return the highest known factor of this extra, for this version if the request names one; 1: no surcharge."""
    if extra in _FREE_BEFORE_8 and version is not None and _OLD.fullmatch(version):
        return 1
    return _HIGHEST.get(extra, 1)


def extras_of(request: GenerationRequest, version: str | None) -> tuple[str, ...]:
    """Return extras such as `hd` and `quality=4`, from options and prompt (`--hd`, `--q 4`), in alphabetical order.

    `version`: the request's version, if it names one.
    """
    if request.operation in TEXTS or request.operation is Operation.UPSCALE:
        # It generates no new image, although it carries the parent's prompt.
        return ()
    options, flags = request.options, flags_of(request.prompt)
    found = {_OPTIONS[name] for name, value in options.items() if name in _OPTIONS and _is_on(value)}
    found |= {_FLAGS[name] for name, _ in flags if name in _FLAGS}
    if version == "8" and request.operation in {Operation.IMAGINE, Operation.BLEND} and _has_image_prompt(request):
        found.add("moodboard")
    said = [number for name, value in flags if name == "quality" for number in _NUMBER.findall(value)]
    levels = [number for value in (options.get("quality"), *said) for number in _as_number(value)]
    if levels and (level := _level(max(levels))):
        found.add(f"quality={level}")
    return tuple(sorted(found))


def extras_of_options(names: Collection[str]) -> list[str]:
    """Return the extras with a surcharge that these options can request."""
    found = {_OPTIONS[name] for name in names if name in _OPTIONS}
    return sorted(extra for extra in _HIGHEST if extra in found or extra.partition("=")[0] in {*names} - {*_OPTIONS})


def _is_on(value: object) -> bool:
    return value is True or bool(value and str(value).lower() != "false")


def _has_image_prompt(request: GenerationRequest) -> bool:
    head = re.split(r"\s(?:--|\N{EM DASH})", request.prompt, maxsplit=1)[0]
    return bool(request.options.get("images") or _LINK.search(head))


def _as_number(value: object) -> Iterator[float]:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            yield float(value)
    except (ValueError, OverflowError):
        # The provider's table will refuse it.
        return


def _level(number: float) -> str | None:
    """Return the level, rounding up to the next one; None for the default, or if it is not a number."""
    higher = next((level for level in sorted({1.0, *LEVELS}) if number <= level), 4 if number > 4 else 1)
    return LEVELS.get(higher)


def read_version(request: GenerationRequest) -> str | None:
    """Return the version from the option `version`, else from the prompt (`--v 7`, `--niji 6`)."""
    version = request.options.get("version")
    if version is None:
        version = next((f"niji{value}" if name == "niji" else value for name, value in flags_of(request.prompt)
                        if value and name in {"version", "niji"}), None)  # fmt: skip
    # The provider's table checks options; an invalid version that slips past it has no specific price.
    return plain_version(str(version)) if isinstance(version, str | int | float) else None


def read_speed(request: GenerationRequest) -> str | None:
    """Return the speed from the option `speed`, else from the prompt (`--turbo`)."""
    speed = request.options.get("speed")
    if speed is None:
        speed = next((name for name, _ in flags_of(request.prompt) if name in SPEEDS), None)
    return "".join(speed.lower().split()) if isinstance(speed, str) else None
