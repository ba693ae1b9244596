"""Response headers, read without the email parser, which takes as long for a small response as signing a put."""

import http.client
import re
from http.client import HTTPMessage
from typing import Any

# One line per header, and no more headers than http.client accepts.
_PLAIN = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n]*\r\n){0,99}\r\n")
_parse_any = http.client.parse_headers


def parse_headers(file: Any, _class: type[HTTPMessage] = HTTPMessage, **options: Any) -> HTTPMessage:
    """Replace http.client's function, and fall back to it if the headers arrive incompletely or in another form."""
    plain = _PLAIN.match(file.peek()) if hasattr(file, "peek") else None
    if plain is None:
        return _parse_any(file, _class, **options)
    message = _class()
    for line in file.read(plain.end()).decode("iso-8859-1").split("\r\n")[:-2]:
        name, _, value = line.partition(":")
        message[name] = value.lstrip(" \t")
    message.set_payload("")
    return message


# `HTTPResponse.begin` calls this function and has no other hook for it.
http.client.parse_headers = parse_headers  # type: ignore[assignment]
