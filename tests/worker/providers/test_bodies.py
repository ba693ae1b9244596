"""However a callback was packed, its adapter sees the JSON."""

import gzip
import json
import zlib
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from worker.errors import CallbackUnreadable
from worker.providers.bodies import LARGEST, json_body

BODY = {"success": True, "task_id": "0123", "code": 200, "data": {"urls": ["https://cdn.example/ü.png?a=1&b=2"]}}
JSON = json.dumps(BODY).encode()
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
MULTIPART = {"Content-Type": 'multipart/form-data; boundary="x-1"'}


def gzipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)  # the same in each process that runs tests, for their names


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def multipart(**fields: str) -> bytes:
    parts = (f'--x-1\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}\r\n' for name in fields)
    return "".join([*parts, "--x-1--\r\n"]).encode()


def each_in_json(body: dict[str, Any]) -> dict[str, str]:
    return {name: item if isinstance(item, str) else json.dumps(item) for name, item in body.items()}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content-Encoding": "gzip"}, gzipped(JSON)),
        ({}, gzipped(JSON)),
        ({"Content-Encoding": "GZip, identity"}, gzipped(JSON)),
        ({"Content-Encoding": "deflate"}, zlib.compress(JSON)),
        ({"Content-Encoding": "deflate"}, raw_deflate(JSON)),
        (FORM, urlencode({"data": JSON.decode()}).encode()),
        (FORM, urlencode({JSON.decode(): ""}).encode()),
        (FORM, urlencode(each_in_json(BODY)).encode()),
        (FORM, urlencode({**BODY, "data": json.dumps(BODY["data"])}).encode()),
        (FORM, b"success=true&task_id=0123&code=200&data[urls][]=https://cdn.example/%C3%BC.png?a=1%26b=2"),
        (FORM, b"success=true&task_id=0123&code=200&data%5Burls%5D%5B0%5D=https://cdn.example/%C3%BC.png?a=1%26b=2"),
        ({**FORM, "Content-Encoding": "gzip"}, gzipped(urlencode(each_in_json(BODY)).encode())),
        (MULTIPART, multipart(payload=JSON.decode())),
        (MULTIPART, multipart(**each_in_json(BODY))),
    ],
)
def test_what_was_packed_is_unpacked_to_the_same_object(headers: dict[str, str], body: bytes) -> None:
    assert json.loads(json_body(headers, body)) == BODY


@pytest.mark.parametrize(
    "headers",
    [
        {},
        FORM,
        MULTIPART,
        {"Content-Encoding": ""},
        *({"Content-Encoding": name} for name in ("utf-8", "deflate", "br")),
    ],
)
@pytest.mark.parametrize("body", [JSON, b" \n" + JSON])
def test_json_stays_as_it_is_whatever_its_headers_say(headers: dict[str, str], body: bytes) -> None:
    assert json_body(headers, body) is body


def test_what_is_no_json_and_not_packed_is_left_to_the_adapter() -> None:
    for body in (b"", b"hello", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}"):
        assert json_body({"Content-Type": "application/json"}, body) is body


def test_a_name_that_comes_again_is_a_list_and_text_that_looks_like_a_number_stays_text() -> None:
    fields = b"urls=a&urls=b&id=12345678901234567890&zip=0123&progress=35&note="
    expected = {"urls": ["a", "b"], "id": "12345678901234567890", "zip": "0123", "progress": 35, "note": ""}
    assert json.loads(json_body(FORM, fields)) == expected


@pytest.mark.parametrize(
    ("headers", "body", "why"),
    [
        ({}, gzipped(b" " * LARGEST + b"1"), "exceeds 1024 kB"),
        ({}, gzipped(JSON)[:-1], "is incomplete"),
        ({}, b"\x1f\x8b\x08" + b"\xff" * 50, "damaged"),
        ({"Content-Encoding": "deflate"}, b"<html>", "damaged"),
        ({"Content-Encoding": "br"}, b"\x1b\x00", "br is not supported"),
        (MULTIPART, multipart(payload="x")[:-4], "not a readable form"),
        (FORM, b"&".join([b"a=1"] * 1001), "not a readable form"),
        (FORM, b"a" + b"[b]" * 20_000 + b"=1", "nested too deeply"),
        (FORM, b"a=1&a[b]=2", "contradictory fields"),
    ],
)
def test_what_cannot_be_unpacked_says_why(headers: dict[str, str], body: bytes, why: str) -> None:
    with pytest.raises(CallbackUnreadable, match=why):
        json_body(headers, body)


def test_a_body_as_large_as_may_be_is_unpacked() -> None:
    assert json_body({}, gzipped(b" " * LARGEST)) == b" " * LARGEST


ODD = st.text(alphabet='ab=&[]%{}":,1\r\n-', max_size=200).map(str.encode) | st.binary(max_size=200)


@given(headers=st.sampled_from([FORM, MULTIPART, {"Content-Encoding": "deflate"}]), body=ODD)
@example(headers=FORM, body=b"a=" + b"[" * 100_000)
@example(headers=FORM, body=b"a=" + b'{"a":' * 900 + b"1" + b"}" * 900)
@example(
    headers={"Content-Type": "multipart/form-data; boundary=a"},
    body=b"--a\r\nContent-Type: multipart/x; boundary=a\r\n\r\n" * 2000 + b"--a--",
)
@settings(max_examples=examples(60))
def test_whatever_comes_it_is_json_or_unreadable(headers: dict[str, str], body: bytes) -> None:
    with suppress(CallbackUnreadable):
        json_body(headers, body)
