"""Makes providers' data safe to store and show; nothing from outside is trusted."""

import json
import re
from contextlib import suppress
from urllib.parse import quote, urlsplit

from worker.errors import CallbackUnreadable
from worker.generation import AssetKind, Link

#: links and long tokens: a provider's message may quote the callback URL that we sent
_SECRET = re.compile(r"https?:\S+|/callbacks/\S+|[a-z0-9_-]{40,}", re.IGNORECASE)

#: white space and zero-width characters, which copying and templates leave at the ends of a link
_AROUND = "".join(map(chr, (*range(0x09, 0x0E), 0x20, 0x85, 0xA0, *range(0x2000, 0x2010), *range(0x2028, 0x2030))))
_AROUND += "\u1680\u205f\u2060\u3000\ufeff"
_LINE_ENDS = str.maketrans("", "", "\t\r\n")
_HOST = re.compile(r"https?://(?P<host>[^/?#:@\[\]]*)(?=[/?#:]|$)", re.IGNORECASE)


def read_json(body: bytes) -> object:
    """Parse JSON in any Unicode encoding, even with control characters. Raises only ValueError."""
    try:
        return json.loads(body, strict=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_object(body: bytes) -> dict[str, object]:
    """Parse a callback's JSON object. Raises CallbackUnreadable."""
    try:
        data = read_json(body)
    except ValueError:
        raise CallbackUnreadable("the body is not JSON") from None
    if not isinstance(data, dict):
        raise CallbackUnreadable("the body is JSON but not an object")
    return data


def clean_text(value: object, limit: int = 300) -> str | None:
    """Return a provider's text as one printable line of at most `limit` characters, without links and tokens."""
    if not isinstance(value, str | int | float):
        return None
    text = _SECRET.sub("[hidden]", str(value))[: 4 * limit]
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return (line if len(line) <= limit else f"{line[: limit - 1]}…") or None


def identifier(value: object) -> str | None:
    """Return an id as text; None for an impossible one (a float has lost digits, PostgreSQL cannot store NUL)."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    return text if text.strip() and text.isprintable() and len(text) <= 200 else None


def percent(value: object) -> int | None:
    """Return progress from 0 to 100; None if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 NaN
        return None
    return int(min(max(value, 0), 100))


def link(value: object, kind: AssetKind = AssetKind.IMAGE) -> Link:
    """Return a result link, path and query byte for byte; only what no link can contain, such as a blank, is encoded.

    Raises CallbackUnreadable, whose text omits the link, because it is signed.
    """
    if isinstance(value, str):
        with suppress(UnicodeError):
            url = _tidied(value)
            if url.isprintable() and _is_web_address(url):
                return Link(url, kind)
    raise CallbackUnreadable("a result link is not an http:// or https:// URL")


def _tidied(text: str) -> str:
    """Normalize an address as browsers do (WHATWG): no surrounding space, no line ends within, host in ASCII."""
    url = text.strip(_AROUND).translate(_LINE_ENDS)
    # Control characters stay, so that a link that contains them is refused.
    if not url.isprintable() or " " in url:
        url = "".join(sign if (sign.isprintable() and sign != " ") or sign < " " else quote(sign) for sign in url)
    parts = _HOST.match(url)
    if parts is None or parts["host"].isascii():
        return url
    return f"{url[: parts.start('host')]}{parts['host'].encode('idna').decode()}{url[parts.end('host') :]}"


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
