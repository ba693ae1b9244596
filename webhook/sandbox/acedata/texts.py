"""Text results: describe, translate, seed, shorten. They are in the reply itself."""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from webhook.sandbox.faults import without_fault_words

_STYLES = (
    "Natural light, wide lens",
    "A watercolour, soft edges",
    "An oil painting, warm colours",
    "35 mm film, grain",
)
#: the fractions of a prompt's words that its shorter versions keep
_SHARES = (0.9, 0.7, 0.5, 0.35, 0.2)


def describe(image_url: str, prompt: str | None) -> dict[str, list[str]]:
    """`prompt` is the prompt of the image under the link, if the sandbox made it."""
    shown = prompt or PurePosixPath(urlsplit(image_url).path).stem or "an image"
    return {"descriptions": [f"An image of {shown}. {style} --ar 1:1" for style in _STYLES]}


def translate(content: str) -> dict[str, str]:
    return {"content": f"In English: {without_fault_words(content)}"}


def shorten(prompt: str) -> dict[str, list[str]]:
    """Up to five versions; they keep the parameters."""
    text, dashes, parameters = without_fault_words(prompt).partition("--")
    words = text.split()
    shorter = (" ".join(words[: max(1, round(len(words) * share))]) for share in _SHARES)
    return {"prompts": list(dict.fromkeys(f"{version} {dashes}{parameters}".strip() for version in shorter))}


def seed(number: int) -> dict[str, str]:
    return {"seed": str(number)}
