"""User text as parts of object keys: letters, digits, ".", "_" and "-" stay; all other characters are escaped."""

import re
import unicodedata

from worker.archive.escapes import bytes_of, cut_escaped, first_words, marked_digest

#: our own folder names and ids, which no user text may look like
_RESERVED = re.compile(r"single|rejected|manifests|inputs|gen_[0-9a-f]+|none")
_ESCAPED = re.compile(r"[^A-Za-z0-9._-]")
#: characters; a longer text is truncated and ends with its digest
SEGMENT_LIMIT = 80
_WORDS = re.compile(r"[^a-z0-9]+")


def segment(text: str) -> str:
    """Return a text as one part of a key. Different texts give different parts, none of them reserved.

    An escaped character becomes its UTF-8 bytes, such as `=C3=A8`. The first character is escaped too if the text
    would otherwise begin with a dot or be reserved. The empty text becomes a single `=`.
    """
    escaped = _ESCAPED.sub(lambda found: bytes_of(found[0]), text) or "="
    if escaped.startswith(".") or _RESERVED.fullmatch(escaped):
        escaped = bytes_of(escaped[0]) + escaped[1:]
    if len(escaped) <= SEGMENT_LIMIT:
        return escaped
    digest = marked_digest(text)
    return f"{cut_escaped(escaped, SEGMENT_LIMIT - len(digest))}{digest}"


def words(text: str, limit: int) -> str:
    """Return the first words of a prompt in ASCII, at most `limit` characters; not unique."""
    plain = unicodedata.normalize("NFKD", text).casefold().encode("ascii", "ignore").decode("ascii")
    joined = _WORDS.sub("-", plain).strip("-")
    return first_words(joined, limit, "-") or "untitled"[:limit]
