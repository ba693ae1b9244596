"""Display names of actions, operations, options and providers."""

import re
from collections.abc import Mapping

from flask import Blueprint
from markupsafe import Markup, escape

from tasks.usecases.gallery import PROVIDER_NAMES
from tasks.usecases.providers import provider_title
from webhook.console.wording import for_people
from worker.generation import Operation
from worker.secrets import title_of

_OPERATIONS: Mapping[str, str] = {
    Operation.VIDEO_EXTEND: "Extend the video",
    Operation.REGION: "Repaint a region",
    Operation.SEED: "Seed",
    Operation.SPLIT: "Split",
}
_ACTIONS: Mapping[str, str] = {
    "zoom_out_2x": "Zoom out 2x",
    "zoom_out_1_5x": "Zoom out 1.5x",
    "square": "Make square",
    "reroll": "Reroll",
    "split": "Split into four",
    "seed": "Find its seed",
    "variation_region": "Repaint a region",
    "video": "Make a video",
    "edit": "Edit",
    "describe": "Describe",
    "redo_upscale_2x": "Redo upscale 2x",
    "redo_upscale_4x": "Redo upscale 4x",
    "upscale_2x": "Upscale 2x",
    "upscale_4x": "Upscale 4x",
}
_OPTIONS: Mapping[str, str] = {
    "hd": "HD",
    "images": "Images",
    "style_images": "Style images",
    "omni_image": "Omni reference",
    "omni_weight": "Omni weight",
    "end_image": "Last image of the video",
    "video_size": "Size of the video",
    "split_images": "Split into images",
}
_NUMBERED = re.compile(r"([a-z]+)([1-4])")
_CODE = re.compile(r"`([^`]+)`")


def filters(pages: Blueprint) -> None:
    """Add these functions as template filters."""
    for function in (action, operation, option, provider, account_title, coded, for_people):
        pages.app_template_filter(function.__name__)(function)


def action(word: str) -> str:
    """Return `Upscale 2`, `Zoom out 1.5x`, `Pan left`; for unknown actions, the provider's own word."""
    if (numbered := _NUMBERED.fullmatch(word)) is not None:
        return f"{numbered[1].capitalize()} {numbered[2]}"
    return _ACTIONS.get(word) or _spelt(word)


def operation(word: str | None) -> str:
    """Return the name of an operation; None stands for operations that Darkroom does not know."""
    return "Others" if word is None else _OPERATIONS.get(word) or _spelt(word)


def option(name: str) -> str:
    """Return `Aspect ratio`."""
    return _OPTIONS.get(name) or _spelt(name)


def provider(name: str) -> str:
    """Return a provider's name as its own pages spell it; unknown names are unchanged."""
    return provider_title(name) if name in PROVIDER_NAMES else name


def account_title(account: tuple[str, str]) -> str:
    """Return `Kie.ai`, or with several accounts `Kie.ai, account shop`; `account`: the provider's and its own name."""
    of_provider, name = account
    return title_of(provider(of_provider), name)


def coded(told: str) -> Markup:
    """Return a sentence with its parts in backticks marked up as code."""
    parts = _CODE.split(told)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def _spelt(word: str) -> str:
    return word.replace("_", " ").capitalize()
