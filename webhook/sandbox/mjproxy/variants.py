"""The program that a submission is sent to, selected by words in its prompt."""

import re
from enum import StrEnum

from webhook.sandbox.mjproxy.checks import bad_request

LATE = "late-success"
_WORD = re.compile(r"proxy:([\w-]+)")


class Variant(StrEnum):
    JAVA = "java"
    CSHARP = "csharp"
    RELAY = "relay"


def read_variant(prompt: str) -> tuple[Variant, bool]:
    """Return the variant, and whether it times out before it succeeds; raises Refusal for an unknown word."""
    words = set(_WORD.findall(prompt))
    if unknown := words - {LATE, *Variant}:
        raise bad_request(f"prompt: unknown proxy:{min(unknown)}; expected one of {', '.join([*Variant, LATE])}")
    named = words - {LATE}
    if len(named) > 1 or words == {LATE, Variant.RELAY}:
        raise bad_request(f"prompt: {' and '.join(sorted(words))} cannot be combined")
    return Variant(named.pop()) if named else Variant.CSHARP, LATE in words


def without_variant_words(prompt: str) -> str:
    return " ".join(_WORD.sub(" ", prompt).split())
