"""Human-readable file names and tags of objects."""

import re
import unicodedata
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from worker.archive.escapes import first_words

#: characters of the prompt in a file name
_WORDS = 60
#: what S3 allows in a tag besides letters, digits and spaces
_TAG_MARKS = frozenset("+-=._:/@ ")
#: maximum characters of a tag's value in S3
_LONGEST_TAG = 256


def readable_name(text: str, index: int, extension: str) -> str:
    """Return a file name from the first words of a prompt, in the prompt's own script, safe on every file system."""
    letters = "".join(letter if _is_letter(letter) else " " for letter in unicodedata.normalize("NFC", text))
    words = first_words("-".join(letters.casefold().split()), _WORDS, "-")
    return f"{words or 'picture'}-{index}.{extension}"


def disposition(filename: str) -> str:
    """Return the Content-Disposition of an object: inline, with a file name for saving (RFC 6266, RFC 8187)."""
    plain = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode("ascii")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).lstrip(".-") or "picture"
    header = f'inline; filename="{plain}"'
    return header if plain == filename else f"{header}; filename*=UTF-8''{quote(filename, safe='', errors='replace')}"


def tagging(tags: Mapping[str, str]) -> str:
    """Return the value of `x-amz-tagging`; characters that S3 does not allow become "_"."""
    return urlencode({name: _tag_value(value) for name, value in tags.items()}, quote_via=quote)


def _tag_value(text: str) -> str:
    kept = (letter if _is_letter(letter) or letter in _TAG_MARKS else "_" for letter in text[:_LONGEST_TAG])
    return "".join(kept).strip()


def _is_letter(character: str) -> bool:
    # Marks too: without its vowel signs, a Hindi or Thai word becomes a different word.
    return unicodedata.category(character)[0] in "LNM"
