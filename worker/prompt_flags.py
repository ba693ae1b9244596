"""The Midjourney parameters that stand in a prompt (`--hd`, `--q 4`, `--v 8.1`), and how versions are written. Pure."""

import re
from collections.abc import Collection

#: after a blank, or inside a permutation such as `{--q 1, --q 4}`; phones and editors make one dash of two
_FLAG = re.compile(
    r"(?<![^\s{,])(?:--|\N{EM DASH})([a-z]+)(?:(?:\s*=\s*|\s+)(?!--|\N{EM DASH})(\{[^}]*\}|[^\s,}]+))?", re.IGNORECASE
)
_SHORT = {"q": "quality", "v": "version", "p": "profile"}
_VERSION = re.compile(r"(?:v(?:ersion)?)?((?:niji)?[0-9]+(?:\.[0-9]+)?)")


def flags_of(prompt: str) -> list[tuple[str, str]]:
    """Each parameter's long name and the word after it, which is empty if there is none, as they stand."""
    if "--" not in prompt and "\N{EM DASH}" not in prompt:
        return []
    found = ((one[1].lower(), one[2] or "") for one in _FLAG.finditer(prompt))
    return [(_SHORT.get(name, name), value) for name, value in found]


def without_switches(prompt: str, names: Collection[str]) -> str:
    """The prompt without these parameters, which take no value."""
    switch = rf"(?:^|\s+)(?:--|\N{{EM DASH}})(?:{'|'.join(names)})(?!\S)"
    return re.sub(switch, "", prompt, flags=re.IGNORECASE).strip()


def plain_version(text: str) -> str:
    """`v8.1`, `V 8.1` and 8.1 are one version, so are `Niji 6` and niji6, 8.0 and 8."""
    word = "".join(text.lower().split())
    found = _VERSION.fullmatch(word)
    return found[1].removesuffix(".0") if found else word
