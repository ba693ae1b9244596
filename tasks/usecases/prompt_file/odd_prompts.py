"""What looks odd in a prompt, and is said: it would be paid for, and not give what was meant.

It is not refused: no vendor's page says what it makes of these, and some take them as they are meant.
"""

import re
from collections.abc import Iterator, Sequence

from tasks.usecases.entry import Entry
from worker.prompt_flags import EM_DASH, OPTION_OF, OTHER_DASHES, OTHERS, flags_in

_KNOWN = OPTION_OF.keys() | OTHERS
_NAME = "|".join(sorted(map(re.escape, _KNOWN), key=len, reverse=True))
_DASH = rf"(?:--|[{EM_DASH}{OTHER_DASHES}]{{1,2}})"
#: blanks that are none to all programs, and signs that nobody sees
_STRANGE = "\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff"


def _compiled(*odd: tuple[str, str]) -> Sequence[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern, re.IGNORECASE | re.DOTALL), what) for pattern, what in odd]


_ODD = _compiled(
    (
        r"\A(/(imagine|blend|describe|shorten|edit|video)\b(\s+prompt\b:?)?|(imagine\s+)?prompts?\s*:)",
        "{0!r} is Discord's command and no part of the prompt: leave it out",
    ),
    (rf"(?<!\S)-(?P<name>{_NAME})(?=\s+[\d.])", "{0!r} begins with a single dash: write --{1}"),
    (rf"(?<!\S)--\s+(?P<name>{_NAME})(?!\S)", "{0!r} has a blank behind its dashes: write --{1}"),
    (rf"(?<!\S){_DASH}(?P<name>{_NAME})[=:\d.]\S*", "{0!r} has no blank before its value: write --{1} and a blank"),
    (r"\A([0-9]{1,4}[.)]|[-*\u2022#]+)\s+", "{0!r} looks like the beginning of a list's item or a heading"),
    (r'\A"[^"]*"\Z', "the quotes around it are a part of the prompt"),
    (r"\A\*\*.+\*\* - .*", "it looks like a message of Discord's bot: copy the prompt alone"),
    (r"\t(?!\s*[-\u2013\u2014])", "a tab, as between the cells of a table"),
)
#: these need not be looked for where all is ASCII; there may be very many prompts
_ODD_BEYOND_ASCII = _compiled(
    (
        rf"(?<!\S)[{EM_DASH}{OTHER_DASHES}]{{1,2}}(?P<name>{_NAME})(?=[\s=]|$)",
        "{0!r} begins with a long dash, which not every provider reads as a parameter: write --{1}",
    ),
    (
        rf"[{_STRANGE}]+{_DASH}(?P<name>{_NAME})\b|{_DASH}(?:{_NAME})[{_STRANGE}]+",
        "beside {0!r} is a no-break space or a sign that nobody sees: write an ordinary blank",
    ),
    ("[\u202a-\u202e\u2066-\u2069]", "a sign that turns the direction of the text, unseen"),
    ("[\x80-\x9f\ufffd]", "a sign that stands for a damaged one: copy the prompt again"),
)


def oddities_of(entries: Sequence[Entry]) -> tuple[tuple[str, ...], ...]:
    """For each entry what is odd in its prompt, with its place."""
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
            yield flag.at, f"Midjourney's list of parameters has no --{flag.name}"
        if flag.option is None:
            continue
        words = f"--{flag.name} {flag.value}".strip()
        if flag.option in said:
            yield flag.at, f"{words} stands beside {said[flag.option]}: keep one, Midjourney does not say which counts"
        said.setdefault(flag.option, words)
