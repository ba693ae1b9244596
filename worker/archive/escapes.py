"""Texts of users in keys and file names: characters as their bytes, and texts that are cut."""

import hashlib
import re

#: ends a text that was cut, before its digest; no escape begins so
_MARK, _DIGEST_LENGTH = "=x", 16
_CUT_ESCAPE = re.compile(r"=[0-9A-F]?$")


def bytes_of(character: str) -> str:
    """Return its UTF-8 bytes, such as `=C3=A8`."""
    return "".join(f"={byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def cut_escaped(escaped: str, length: int) -> str:
    """Return the beginning of an escaped text, which does not end within an escape."""
    return _CUT_ESCAPE.sub("", escaped[:length])


def marked_digest(text: str) -> str:
    """Return what tells a text that was cut from any other."""
    return f"{_MARK}{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:_DIGEST_LENGTH]}"


def first_words(text: str, limit: int, separator: str) -> str:
    """Return a text without the words that go beyond `limit` characters; of a single long word, its beginning."""
    if len(text) <= limit:
        return text
    start, _, rest = text[: limit + 1].rpartition(separator)
    return start or rest[:limit]
