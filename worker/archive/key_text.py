"""Texts of users as parts of object keys: letters, digits, ".", "_" and "-" stay, all other characters are escaped."""

import hashlib
import re
import unicodedata

#: names of folders and ids of ours, which no text of a user may look like
_RESERVED = re.compile(r"single|rejected|manifests|inputs|gen_[0-9a-f]+|none")
_ESCAPED = re.compile(r"[^A-Za-z0-9._-]")
#: the end of a text that was cut within an escape
_CUT_ESCAPE = re.compile(r"=[0-9A-F]?$")
#: characters of the longest segment; a longer text is cut, and ends with a mark that no escape has and its digest
SEGMENT_LIMIT = 80
_DIGEST_MARK, _DIGEST_LENGTH = "=x", 16
_WORDS = re.compile(r"[^a-z0-9]+")


def segment(text: str) -> str:
    """Return a text as one part of a key; different texts give different parts, none of them reserved.

    A character that is escaped becomes its UTF-8 bytes as `=C3=A8`; a first character also where the text would begin
    with a dot or be reserved. The empty text is a single `=`.
    """
    escaped = _ESCAPED.sub(lambda found: _escape(found[0]), text) or "="
    if escaped.startswith(".") or _RESERVED.fullmatch(escaped):
        escaped = _escape(escaped[0]) + escaped[1:]
    if len(escaped) <= SEGMENT_LIMIT:
        return escaped
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    kept = _CUT_ESCAPE.sub("", escaped[: SEGMENT_LIMIT - len(_DIGEST_MARK) - _DIGEST_LENGTH])
    return f"{kept}{_DIGEST_MARK}{digest}"


def words(text: str, limit: int) -> str:
    """Return the first words of a prompt in ASCII, at most `limit` characters; not unique."""
    plain = unicodedata.normalize("NFKD", text).casefold().encode("ascii", "ignore").decode("ascii")
    joined = _WORDS.sub("-", plain).strip("-")
    if len(joined) > limit:
        start, _, rest = joined[: limit + 1].rpartition("-")
        joined = start or rest[:limit]
    return joined or "untitled"[:limit]


def _escape(character: str) -> str:
    return "".join(f"={byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
