"""What the demo submits: twelve generations at four providers, follow-ups, and a recipe: 27 charges in all."""

from collections.abc import Mapping
from typing import Any

from tasks.cli.demo.ending import RECIPE
from tasks.usecases.entry import Entry, Place
from tasks.usecases.submit import SubmitRequest
from worker.generation import Operation

BATCH = "demo"

#: the key of the generation that follows the recipe
_FOLLOWS_RECIPE = "owl"

#: single-color squares, in the form in which local files are sent
_BLUE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQMAAAD+wSzIAAAAA1BMVEUYKGCloADgAAAAC0lEQVR42mNgQAUAABAAAaoZ+IIAAAAASUVORK5CYII="  # noqa: E501
_ORANGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQMAAAD+wSzIAAAAA1BMVEXwjCiwPTG3AAAAC0lEQVR42mNgQAUAABAAAaoZ+IIAAAAASUVORK5CYII="  # noqa: E501
_LINK = "https://example.com/tram.png"

_IMAGINE, _BLEND, _VIDEO = Operation.IMAGINE, Operation.BLEND, Operation.VIDEO
_DESCRIBE, _TRANSLATE = Operation.DESCRIBE, Operation.TRANSLATE

#: by provider, or several in order of preference; the key becomes the folder name
_ASKED: Mapping[str, tuple[tuple[str, Operation, str, Mapping[str, Any], tuple[str, ...]], ...]] = {
    "acedata": (
        ("observatory", _IMAGINE, "an observatory on a sleeping volcano, first stars, long exposure",
         {"speed": "fast"}, ("upscale2/zoom_out_2x",)),
        ("words", _TRANSLATE, "ein Schneeschloss, gebaut von sehr ernsthaften Kindern", {}, ()),
    ),
    "kie": (
        ("teahouse", _IMAGINE, "a tea house between two waterfalls, ukiyo-e, mist", {}, ("variation2", "upscale1")),
        ("tram", _VIDEO, "a yellow tram climbs into the northern lights", {"images": _LINK}, ("extend1",)),
    ),
    # When the credit of the first provider is used up, the rest goes to the second.
    "kie,acedata": (
        ("whale", _IMAGINE, "a whale of clouds swimming over a harbour at dawn", {"speed": "turbo"}, ()),
        ("lighthouse", _IMAGINE, "a lighthouse that reads bedtime stories to passing ships, gouache",
         {"aspect_ratio": "3:2"}, ("upscale1", "upscale3")),
        ("library", _IMAGINE, "a city whose skyline is a shelf of old books, warm windows", {"stylize": 250}, ()),
    ),
    "ohmygpt": (
        ("fox", _IMAGINE, "a fox in a raincoat waiting for the last night train in an autumn forest", {},
         ("upscale:all",)),
        ("dunes", _BLEND, "", {"images": [_BLUE, _ORANGE]}, ()),
    ),
    "mjproxy": (
        ("astronaut", _IMAGINE, "an astronaut planting a lemon tree on a small moon", {},
         ("variation2", "upscale1", "reroll")),
        ("owl", _IMAGINE, "an owl who repairs clocks, candle light, macro photograph", {"seed": 7}, ()),
        ("orange", _DESCRIBE, "", {"images": _ORANGE}, ()),
    ),
}  # fmt: skip


def request() -> SubmitRequest:
    entries = [
        Entry(
            place=Place(key),
            prompt=prompt,
            key=key,
            options=options,
            follow_up=",".join(follow_up),
            recipe=RECIPE if key == _FOLLOWS_RECIPE else None,
            provider=provider,
            operation=operation,
        )
        for provider, asked in _ASKED.items()
        for key, operation, prompt, options, follow_up in asked
    ]
    return SubmitRequest(entries=entries, batch=BATCH)
