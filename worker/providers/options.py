"""Request options: parses text (command line, CSV) or JSON values for a provider's API.

An option has the same name and values at every provider that supports it. The provider's table defines where it goes
(a field of the body, or a Midjourney parameter at the end of the prompt).
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from urllib.parse import urlsplit

from worker.prompt_flags import plain_version

#: characters; today's versions have up to 6
_LONGEST_VERSION = 20
_RATIO = "[1-9][0-9]{0,3}:[1-9][0-9]{0,3}"
#: refers to a user's input file in the bucket (`inputs.py`)
REFERENCE = re.compile(r"input:([0-9a-f]{64})\.(?:png|jpg|webp)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """The allowed values, in words, and the parser `read` (raises KeyError, TypeError, ValueError or OverflowError).

    `schema`: the JSON Schema of these values; text that parses as one of them is accepted too.
    `field`: its name in the body; `flag`: its Midjourney parameter in the prompt; `leads`: it precedes the prompt's
    words. Without any of these, the provider's own code places it.
    """

    allowed: str
    read: Callable[[object], object]
    schema: Mapping[str, object]
    field: str | None = None
    flag: str | None = None
    leads: bool = False
    #: its values are images, which may be files
    takes_images: bool = False
    takes_files: bool = False

    def as_field(self, name: str, words: Mapping[object, object] | None = None) -> "Option":
        """Return the option placed in a field of the body; `words` maps the values to the provider's."""
        return replace(self, field=name, read=self._in_words(words))

    def as_flag(self, flag: str) -> "Option":
        """Return the option placed at the end of the prompt, as a parameter such as `--ar`."""
        return replace(self, flag=flag)

    def as_lead(self) -> "Option":
        """Return the option placed at the start of the prompt, where Midjourney expects image prompts, as links."""
        return replace(self, leads=True)

    def _in_words(self, words: Mapping[object, object] | None) -> Callable[[object], object]:
        read = self.read
        return read if words is None else lambda value: words[read(value)]


def text(allowed: str) -> Option:
    """Any text; a number from CSV or JSON is converted to text."""
    return Option(allowed=allowed, read=_text, schema={"type": "string"})


def one_of(*words: str) -> Option:
    """One of these words."""
    known: dict[object, str] = {word: word for word in words}
    return Option(allowed=listed(words), read=known.__getitem__, schema={"type": "string", "enum": list(words)})


def level(*numbers: str) -> Option:
    """One of these numbers, in any notation; read as the notation given here."""
    spelling = {float(number): number for number in numbers}
    return Option(
        allowed=listed(numbers),
        read=lambda value: spelling[_number(value)],
        schema={"type": "number", "enum": [int(one) if one.is_integer() else one for one in spelling]},
    )


def whole(least: int, most: int, step: int = 1) -> Option:
    """A whole number from `least` to `most`, in steps of `step`."""
    steps = f" in steps of {step}" if step > 1 else ""
    numbers: dict[str, object] = {"type": "integer", "minimum": least, "maximum": most}
    return Option(
        allowed=f"an integer from {least} to {most}{steps}",
        read=lambda value: _whole(value, least, most, step),
        schema=numbers if step == 1 else numbers | {"enum": list(range(least, most + 1, step))},
    )


def pictures(least: int, most: int, *, links: bool = True, files: bool = False) -> Option:
    """A list of `least` to `most` images: links, or files (given as `data:` links), or both."""
    if most == 1:
        return replace(
            picture(links=links, files=files),
            read=lambda value: _pictures(value, 1, 1, links, files),
            schema=_images(1, 1),
        )
    count = f"{least} to {most}" if most > least else str(least)
    allowed = f"{count} {'images as links or files' if links and files else _KINDS[links][1]}"
    return Option(
        allowed=allowed,
        read=lambda value: _pictures(value, least, most, links, files),
        schema=_images(least, most),
        takes_images=True,
        takes_files=files,
    )


def picture(*, links: bool = True, files: bool = False) -> Option:
    """One image, not in a list: a link, or a file (given as a `data:` link), or either."""
    allowed = "one image as a link or a file" if links and files else _KINDS[links][0]
    return Option(
        allowed=allowed,
        read=lambda value: _pictures(value, 1, 1, links, files)[0],
        schema={"type": "string"},
        takes_images=True,
        takes_files=files,
    )


def _images(least: int, most: int) -> Mapping[str, object]:
    return {"type": "array", "items": {"type": "string"}, "minItems": least, "maxItems": most}


def listed(words: tuple[str, ...], last: str = "or") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _flag(value: object) -> bool:
    if not isinstance(value, bool | str):
        raise TypeError
    return {"true": True, "false": False}[str(value).lower()]


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    text = str(value).strip()
    # Not every provider's encoding supports NUL or lone surrogates.
    if not text or not text.isprintable():
        raise ValueError
    return text


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    return float(value)


def _seconds(value: object) -> float:
    if not 0 < (number := _number(value)) < inf:
        raise ValueError
    return int(number) if number.is_integer() else number


def _whole(value: object, least: int, most: int, step: int) -> int:
    number = int(_text(value))
    if not least <= number <= most or (number - least) % step:
        raise ValueError
    return number


def _version(value: object) -> str:
    text = _text(value)
    if len(text) > _LONGEST_VERSION:
        raise ValueError
    return plain_version(text)


def _ratio(value: object) -> str:
    found = re.fullmatch(_RATIO, _text(value))
    if not found:
        raise ValueError
    return found[0]


def _pictures(value: object, least: int, most: int, links: bool, files: bool) -> list[str]:
    items = value.split() if isinstance(value, str) else value
    if not isinstance(items, list):
        raise TypeError
    if not least <= len(items) <= most:
        raise ValueError
    # On submission, a reference becomes whatever the provider accepts.
    if not all((links and _is_link(item)) or (files and _is_file(item)) or _is_reference(item) for item in items):
        raise ValueError
    return list(items)


def _is_link(item: object) -> bool:
    if not isinstance(item, str) or not item.isprintable() or " " in item:
        return False
    parts = urlsplit(item)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)


def _is_file(item: object) -> bool:
    """Return whether it is an image as a `data:` link, the form required by all APIs that accept files."""
    if not isinstance(item, str) or not (found := re.match(r"data:image/(png|jpeg|webp);base64,", item)):
        return False
    try:
        return bool(base64.b64decode(item[found.end() :], validate=True))
    except binascii.Error:
        return False


def _is_reference(item: object) -> bool:
    return isinstance(item, str) and REFERENCE.fullmatch(item) is not None


#: whether links are allowed → the words for one image and for several
_KINDS = {True: ("one link to an image", "links to images"), False: ("one image file", "image files")}

FLAG = Option(allowed="true or false", read=_flag, schema={"type": "boolean"})
SECONDS = Option(allowed="a number of seconds", read=_seconds, schema={"type": "number", "exclusiveMinimum": 0})
ASPECT_RATIO = Option(allowed="a ratio such as 16:9", read=_ratio, schema={"type": "string", "pattern": f"^{_RATIO}$"})
SPEED = one_of("relax", "fast", "turbo")
STYLIZE = whole(0, 1000)
WEIRD = whole(0, 3000)
CHAOS = whole(0, 100)
SEED = whole(0, 4_294_967_295)
# Not limited to today's versions: vendors add new ones.
VERSION = Option(
    allowed="a version such as 8.1", read=_version, schema={"type": "string", "maxLength": _LONGEST_VERSION}
)
OMNI_WEIGHT = whole(1, 1000)
MOTION = one_of("low", "high")
VIDEO_SIZE = one_of("480p", "720p")
