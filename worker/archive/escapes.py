"""User text in keys and file names: escaping characters as their bytes, and truncation."""

import hashlib
import re

#: marks a truncated text, before its digest; no escape begins with this mark
_MARK, _DIGEST_LENGTH = "=x", 16
_CUT_ESCAPE = re.compile(r"=[0-9A-F]?$")


def bytes_of(character: str) -> str:
    """Return the character's UTF-8 bytes, such as `=C3=A8`."""
    return "".join(f"={byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def cut_escaped(escaped: str, length: int) -> str:
    """Truncate an escaped text without splitting an escape."""
    return _CUT_ESCAPE.sub("", escaped[:length])


def marked_digest(text: str) -> str:
    """Return the mark and digest that distinguish a truncated text from any other."""
    return f"{_MARK}{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:_DIGEST_LENGTH]}"


def first_words(text: str, limit: int, separator: str) -> str:
    """Return the leading words that fit in `limit` characters, or the beginning of a single long word."""
    if len(text) <= limit:
        return text
    start, _, rest = text[: limit + 1].rpartition(separator)
    return start or rest[:limit]
