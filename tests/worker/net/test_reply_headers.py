"""Headers of replies are read as `http.client` reads them, whatever they look like."""

import http.client
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from worker.net import reply_headers

LINES = st.one_of(
    st.builds("{}: {}".format, st.sampled_from(["ETag", "x-Amz-Id-2", "Set-Cookie"]), st.text('ab \t:;"é\0\x85\x0c')),
    st.text("aZ9-_ :\t\r\né\0", max_size=12),
)
BLOCKS = st.builds(
    lambda lines, end: end.join([*lines, "", ""]), st.lists(LINES, max_size=6), st.just("\r\n") | st.just("\n")
)


def outcome(parse, block: bytes) -> object:
    """The headers and what is left for the body; or the error."""
    file = io.BufferedReader(io.BytesIO(block + b"body"))
    try:
        message = parse(file)
    except http.client.HTTPException as error:
        return type(error), str(error)
    return message.items(), message.get_payload(), [str(defect) for defect in message.defects], file.read()


@settings(max_examples=examples(1000), deadline=None)
@given(BLOCKS)
@example("A: 1\r\n B\r\n\r\n")
@example("\r\n")
@example("A: 1\rB: 2\r\n\r\n")
@example("".join(f"A{number}: 1\r\n" for number in range(99)) + "\r\n")
@example("".join(f"A{number}: 1\r\n" for number in range(100)) + "\r\n")
@example(f"A: {'b' * 70_000}\r\n\r\n")
def test_headers_are_read_as_the_standard_library_reads_them(block: str):
    raw = block.encode("iso-8859-1")
    assert outcome(reply_headers.parse_headers, raw) == outcome(reply_headers._parse_any, raw)


def test_common_headers_do_not_need_the_parser_for_emails(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("not needed")

    monkeypatch.setattr(reply_headers, "_parse_any", refuse)
    response = http.client.HTTPResponse(Replying(b'HTTP/1.1 200 OK\r\nETag: "ab"\r\nContent-Length: 4\r\n\r\nbody'))
    response.begin()
    assert (response.getheader("ETag"), response.read()) == ('"ab"', b"body")


class Replying:
    """What http.client needs of a socket."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(io.BytesIO(self._reply))
