"""The least request for each operation, action and option that the providers' own tables name."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.worker.providers.dialects import DIALECTS
from worker.generation import GenerationRequest, Operation
from worker.providers import provider_class
from worker.providers.options import Option

LINK = "https://studio.test/cat.png"
#: one black pixel
FILE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
#: of each the first that the provider's option takes
VALUES: Mapping[str, tuple[Any, ...]] = {
    "aspect_ratio": ("3:2",),
    "version": ("7", "6.1"),
    "speed": ("fast", "turbo", "relax"),
    "quality": ("2", "1"),
    "images": ([LINK], [LINK, LINK], [FILE], [FILE, FILE]),
    "style_images": ([LINK], [FILE]),
    "omni_image": (LINK, FILE),
    "mask": (LINK, FILE),
    "end_image": (LINK, FILE),
    "motion": ("low",),
    "video_size": ("480p", "720p"),
}
ANYTHING = (True, 5, 1, "fast", LINK, FILE)


def examples(name: str) -> Iterator[GenerationRequest]:
    """For each operation that has an example, one request with each of its actions."""
    for operation, capability in provider_class(name).capabilities.items():
        if example := DIALECTS[name].examples.get(operation):
            yield from (replace(example, action=action) for action in capability.actions or (None,))


def every_example() -> list[Any]:
    return [
        pytest.param(name, request, id=f"{name}-{request.action or request.operation}")
        for name in DIALECTS
        for request in examples(name)
    ]


def every_operation() -> list[Any]:
    return [
        pytest.param(name, operation, id=f"{name}-{operation}")
        for name in DIALECTS
        for operation in DIALECTS[name].examples
    ]


def every_option() -> list[Any]:
    """Each operation's example, and with it the options that must be added to use one more."""
    return [
        pytest.param(name, example, added(name, option, known), id=f"{name}-{operation}-{option}")
        for name in DIALECTS
        for operation, example in DIALECTS[name].examples.items()
        for option, known in provider_class(name).capabilities[operation].options.items()
        if option not in example.options
    ]


def without_example(name: str) -> set[Operation]:
    return provider_class(name).capabilities.keys() - DIALECTS[name].examples.keys()


def added(name: str, option: str, known: Option) -> Mapping[str, Any]:
    own = DIALECTS[name].values.get(option)
    if isinstance(own, dict):
        return own
    possible = (own,) if own is not None else VALUES.get(option, ANYTHING)
    return {option: next((value for value in possible if _taken(known, value)), possible[0])}


def _taken(option: Option, value: Any) -> bool:
    try:
        option.read(value)
    except (KeyError, TypeError, ValueError, OverflowError):
        return False
    return True
