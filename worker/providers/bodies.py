"""Extracts a callback's JSON from a compressed or form-encoded body, or both."""

import json
import re
import zlib
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import BytesParser
from urllib.parse import parse_qsl

from worker.errors import CallbackUnreadable
from worker.providers.reading import read_json

#: bytes of a decompressed body; a compressed one of 256 kB may expand a thousandfold
LARGEST = 1024 * 1024
MOST_FIELDS = 1000
#: maximum names in a field; `data[images][0]` has three
_MOST_NAMES = 8

_NO_FORM = "it is not a readable form"
_GZIP = b"\x1f\x8b"
_URLENCODED, _MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
_FIELD = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
# As JSON, JavaScript and Python write them; a number of more than 18 digits is an identifier.
_SCALAR = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]{0,17})", re.IGNORECASE)


def json_body(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the JSON that the adapters read; a body that is neither compressed nor a form is returned as it is.

    Raises CallbackUnreadable.
    """
    plain = _decompressed(headers, body)
    fields = _fields(headers.get("Content-Type", ""), plain)
    if fields is None:
        return plain
    try:
        return json.dumps(_object(fields)).encode()
    except RecursionError:
        raise CallbackUnreadable("a field of its form is nested too deeply") from None


def is_whole(headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether the body itself shows that its end is not missing: by valid JSON or its encoding's end mark."""
    try:
        plain = _decompressed(headers, body)
        if plain is body and _media_type(headers.get("Content-Type", "")) != _MULTIPART:
            read_json(body)
        else:
            json_body(headers, body)
    except (CallbackUnreadable, ValueError):
        return False
    return True


def _decompressed(headers: Mapping[str, str], body: bytes) -> bytes:
    named = headers.get("Content-Encoding", "").lower().split(",")
    coding = ", ".join(sorted({one.strip() for one in named} - {"", "identity"}))
    if body.startswith(_GZIP):  # whatever the header says: neither JSON nor a form begins like this
        return _inflated(body, 31)
    if coding == "deflate" and not _looks_plain(body):
        # Some senders include the zlib header, as the standard says, and some do not.
        has_header = body[:1] == b"\x78" and int.from_bytes(body[:2]) % 31 == 0
        return _inflated(body, 15 if has_header else -15)
    if coding in {"br", "zstd", "compress", "x-compress"} and not _looks_plain(body):
        raise CallbackUnreadable(f"its Content-Encoding {coding} is not supported")
    return body


def _looks_plain(body: bytes) -> bool:
    # A proxy that decompresses a body may leave the header unchanged.
    return body.lstrip()[:1] in {b"{", b"["}


def _inflated(body: bytes, window_bits: int) -> bytes:
    decompressor = zlib.decompressobj(window_bits)
    try:
        plain = decompressor.decompress(body, LARGEST + 1)
    except zlib.error:
        raise CallbackUnreadable("its compressed body is damaged") from None
    if len(plain) > LARGEST:
        raise CallbackUnreadable(f"it exceeds {LARGEST // 1024} kB when decompressed")
    if not decompressor.eof:
        raise CallbackUnreadable("its compressed body is incomplete")
    return plain


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _fields(content_type: str, body: bytes) -> list[tuple[str, str]] | None:
    """Return the fields of a form; None if the body is not a form, whatever its type says."""
    kind = _media_type(content_type)
    if kind not in {_URLENCODED, _MULTIPART} or _is_json(body):
        return None
    try:
        if kind == _MULTIPART:
            return list(_parts(content_type, body))
        text = body.decode("utf-8-sig", errors="replace")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except (ValueError, RecursionError):
        raise CallbackUnreadable(_NO_FORM) from None


def _is_json(body: bytes) -> bool:
    try:
        read_json(body)
    except ValueError:
        return False
    return True


def _parts(content_type: str, body: bytes) -> Iterator[tuple[str, str]]:
    form = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = form.get_payload()
    ends = body.rstrip().endswith(f"--{form.get_boundary()}--".encode())
    if not isinstance(parts, list) or len(parts) > MOST_FIELDS or not ends:
        raise CallbackUnreadable(_NO_FORM)
    for part in parts:
        if isinstance(part, Message):
            name, value = part.get_param("name", header="Content-Disposition"), part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(value, bytes):
                yield name, value.decode(errors="replace")


def _object(fields: list[tuple[str, str]]) -> object:
    if len(fields) == 1:
        # The whole object is in one field, or in place of a field.
        name, text = fields[0]
        whole = _value(text or name)
        if isinstance(whole, dict):
            return whole
    found: dict[str, object] = {}
    for name, text in fields:
        *outer, last = _names(name)
        place = found
        for each in outer:
            within = place.setdefault(each, {})
            if not isinstance(within, dict):
                raise CallbackUnreadable("its form has contradictory fields")
            place = within
        value = _value(text)
        if last in place:
            earlier = place[last]
            value = [*(earlier if isinstance(earlier, list) else [earlier]), value]
        place[last] = value
    return _with_lists(found)


def _names(field: str) -> list[str]:
    """Split a nested field as PHP and jQuery write it: `data[images][]` is data, images, and an empty name."""
    parts = _FIELD.fullmatch(field)
    names = [parts[1], *re.findall(r"\[(.*?)\]", parts[2])] if parts else [field]
    if len(names) > _MOST_NAMES:
        raise CallbackUnreadable("a field of its form is nested too deeply")
    return names


def _value(text: str) -> object:
    """Parse a field that is JSON for an object, a list or a non-text scalar; return any other text unchanged."""
    is_scalar = _SCALAR.fullmatch(text) is not None
    if is_scalar or text.lstrip().startswith(("{", "[")):
        try:
            return read_json((text.lower() if is_scalar else text).encode())
        except ValueError:
            pass
    return text


def _with_lists(value: object) -> object:
    """Turn `urls[0]` and `urls[]` into lists."""
    if not isinstance(value, dict):
        return value
    items = {name: _with_lists(item) for name, item in value.items()}
    if items.keys() == {""}:
        return items[""] if isinstance(items[""], list) else [items[""]]
    if items and [*items] == [str(number) for number in range(len(items))]:
        return [*items.values()]
    return items
