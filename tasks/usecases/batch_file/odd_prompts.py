"""Warns about suspicious prompts, which cost money and may not produce what was meant.

They are not refused: no vendor documents how it treats them, and some treat them as intended.
"""

import re
from collections.abc import Iterator, Sequence

from tasks.usecases.entry import Entry
from worker.prompt_flags import EM_DASH, OPTION_OF, OTHER_DASHES, OTHERS, flags_in

_KNOWN = OPTION_OF.keys() | OTHERS
_NAME = "|".join(sorted(map(re.escape, _KNOWN), key=len, reverse=True))
_DASH = rf"(?:--|[{EM_DASH}{OTHER_DASHES}]{{1,2}})"
#: special spaces that some programs do not accept, and invisible characters
_STRANGE = "\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff"


def _compiled(*odd: tuple[str, str]) -> Sequence[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern, re.IGNORECASE | re.DOTALL), what) for pattern, what in odd]


_ODD = _compiled(
    (
        r"\A(/(imagine|blend|describe|shorten|edit|video)\b(\s+prompt\b:?)?|(imagine\s+)?prompts?\s*:)",
        "{0!r} is a Discord command, not part of the prompt: leave it out",
    ),
    (rf"(?<!\S)-(?P<name>{_NAME})(?=\s+[\d.])", "{0!r} begins with a single dash: write --{1}"),
    (rf"(?<!\S)--\s+(?P<name>{_NAME})(?!\S)", "{0!r} has a space after the dashes: write --{1}"),
    (rf"(?<!\S){_DASH}(?P<name>{_NAME})[=:\d.]\S*", "{0!r} has no space before its value: write --{1} and a space"),
    (r"\A([0-9]{1,4}[.)]|[-*\u2022#]+)\s+", "{0!r} looks like a list marker or a heading"),
    (r'\A"[^"]*"\Z', "the surrounding quotes are part of the prompt"),
    (r"\A\*\*.+\*\* - .*", "this looks like a message from the Discord bot: copy only the prompt"),
    (r"\t(?!\s*[-\u2013\u2014])", "a tab, as between table cells"),
)
#: skipped for all-ASCII prompts, because there may be very many prompts
_ODD_BEYOND_ASCII = _compiled(
    (
        rf"(?<!\S)[{EM_DASH}{OTHER_DASHES}]{{1,2}}(?P<name>{_NAME})(?=[\s=]|$)",
        "{0!r} begins with a long dash, which some providers do not read as a parameter: write --{1}",
    ),
    (
        rf"[{_STRANGE}]+{_DASH}(?P<name>{_NAME})\b|{_DASH}(?:{_NAME})[{_STRANGE}]+",
        "{0!r} is next to a no-break space or an invisible character: use an ordinary space",
    ),
    ("[\u202a-\u202e\u2066-\u2069]", "an invisible character that changes the text direction"),
    ("[\x80-\x9f\ufffd]", "a damaged character: copy the prompt again"),
)


def oddities_of(entries: Sequence[Entry]) -> tuple[tuple[str, ...], ...]:
    """Return the warnings for each entry's prompt, with their places."""
    return tuple(
        tuple(f"{entry.place_of(at)}: {what}" for at, what in sorted(_oddities(entry.prompt))) for entry in entries
    )


def _oddities(prompt: str) -> Iterator[tuple[int, str]]:
    for pattern, what in _ODD if prompt.isascii() else (*_ODD, *_ODD_BEYOND_ASCII):
        for found in pattern.finditer(prompt):
            name = found.groupdict().get("name") or ""
            yield found.start(), what.format(found[0].strip(), name.lower())
    said: dict[str, str] = {}
    for flag in flags_in(prompt):
        if flag.name not in _KNOWN:
            yield flag.at, f"--{flag.name} is not a Midjourney parameter"
        if flag.option is None:
            continue
        words = f"--{flag.name} {flag.value}".strip()
        if flag.option in said:
            yield (
                flag.at,
                f"{words} conflicts with {said[flag.option]}: keep one, Midjourney does not say which applies",
            )
        said.setdefault(flag.option, words)
