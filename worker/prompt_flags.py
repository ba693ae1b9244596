"""Midjourney's parameters in a prompt (`--ar 16:9`, `—v 8.1`, `--q=4`), and how versions are written. Pure.

Names: docs.midjourney.com, Parameter List.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

#: parameter → the equivalent option
OPTION_OF: Mapping[str, str] = {
    **dict.fromkeys(("ar", "aspect"), "aspect_ratio"),
    **dict.fromkeys(("c", "chaos"), "chaos"),
    **dict.fromkeys(("q", "quality"), "quality"),
    **dict.fromkeys(("s", "stylize"), "stylize"),
    **dict.fromkeys(("v", "version", "niji"), "version"),
    **dict.fromkeys(("w", "weird"), "weird"),
    **dict.fromkeys(("fast", "relax", "turbo"), "speed"),
    **{name: name for name in ("hd", "loop", "motion", "seed")},
    "ow": "omni_weight",
    "oref": "omni_image",
    "sref": "style_images",
    "end": "end_image",
    "bs": "videos",
}
#: other current and former parameters
OTHERS = frozenset(
    {"cref", "cw", "dref", "dw", "iw", "sw", "sv", "no", "p", "personalize", "profile", "style", "raw", "tile", "exp"}
    | {"draft", "creative", "stop", "repeat", "r", "sameseed", "video", "public", "stealth", "remix", "test", "testp"}
    | {"upanime", "upbeta", "uplight"}
)
#: parameters without a value
_BARE = frozenset({"fast", "relax", "turbo", "hd", "loop"})
#: these also accept codes, which no option supports
_PICTURES = frozenset({"sref", "oref", "end"})

#: dashes that programs substitute for `--`; Midjourney reads only an em dash as `--`
EM_DASH = "\N{EM DASH}"
OTHER_DASHES = "\N{EN DASH}\N{FIGURE DASH}\N{HORIZONTAL BAR}\N{MINUS SIGN}"

# After a blank, or inside a permutation such as `{--q 1, --q 4}`. Other single dashes also occur in prose, so a number
# must follow them.
_FLAG = re.compile(
    rf"(?<![^\s{{,])(?:--|{EM_DASH}{{1,2}}|[{OTHER_DASHES}]{{2}}|[{OTHER_DASHES}](?=[A-Za-z]+[\s=]\s*[\d.]))"
    r"(?P<name>[A-Za-z]+)(?![^\s=,}])"
    rf"(?:(?:\s*=\s*|\s+)(?!--|[{EM_DASH}{OTHER_DASHES}])(?P<value>\{{[^}}]*\}}|[^\s,}}]+))?"
)
_LONG = {"q": "quality", "v": "version", "p": "profile"}
_VERSION = re.compile(r"(?:v(?:ersion)?)?((?:niji)?[0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True, slots=True)
class Flag:
    """One parameter of a prompt. `at`: its position; `value`: empty if it has none."""

    name: str
    value: str
    at: int

    @property
    def option(self) -> str | None:
        """The equivalent option; None without one."""
        return OPTION_OF.get(self.name)

    @property
    def given(self) -> str | None:
        """The option's value; None where no option can express it (`--sref 123`, `--ar {1:1, 3:2}`)."""
        if self.name in _BARE:
            return self.name if self.option == "speed" else "true"
        if self.value.startswith("{") or self.name in _PICTURES:
            return None
        return f"niji{self.value}" if self.name == "niji" else self.value


def flags_in(prompt: str) -> Iterator[Flag]:
    """Yield a prompt's parameters in order, including unknown ones."""
    yield from _flags_of_recent(prompt)


# Checking, pricing and translating a request follow one another, and each needs the parameters several times.
@lru_cache(maxsize=16)
def _flags_of_recent(prompt: str) -> tuple[Flag, ...]:
    found = _FLAG.finditer(prompt)
    return tuple(Flag(one["name"].lower(), one["value"] or "", one.start()) for one in found)


def flags_of(prompt: str) -> list[tuple[str, str]]:
    """Return each parameter's long name and the word after it, empty if there is none, as written."""
    return [(_LONG.get(flag.name, flag.name), flag.value) for flag in flags_in(prompt)]


def without_switches(prompt: str, names: Collection[str]) -> str:
    """Return the prompt without these parameters, which have no value."""
    switch = rf"(?:^|\s+)(?:--|\N{{EM DASH}})(?:{'|'.join(names)})(?!\S)"
    return re.sub(switch, "", prompt, flags=re.IGNORECASE).strip()


def plain_version(text: str) -> str:
    """`v8.1`, `V 8.1` and 8.1 are one version, so are `Niji 6` and niji6, 8.0 and 8."""
    word = "".join(text.lower().split())
    found = _VERSION.fullmatch(word)
    return found[1].removesuffix(".0") if found else word
