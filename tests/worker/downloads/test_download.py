"""Downloads from real servers on the loopback address, which answer byte for byte what a test says."""

import gzip
import hashlib
import os
import socket
import socketserver
import ssl
import time
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from tests.serving import at_work
from worker.downloads.download import Downloader, Limits
from worker.downloads.transfer import MEMORY_PART
from worker.errors import (
    ConfigurationError,
    ContentInvalid,
    DownloadError,
    LinkBlocked,
    LinkDead,
    LinkForbidden,
    TooSlow,
)
from worker.net import connections

Answer = bytes | Iterable[bytes]
QUICK = Limits(connect=10, read=10, bytes=4 * 1024 * 1024)
BODY = b"the bytes of an image"


def ok(body: bytes = BODY, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def reply(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", *headers]).encode() + b"\r\n\r\n"


def close_after(answer: bytes) -> Iterable[bytes]:
    """The answer, after which the server closes the connection."""
    yield answer


def dripping(start: bytes, drop: bytes) -> Iterable[bytes]:
    yield start
    for _ in range(200):
        time.sleep(0.02)
        yield drop


class RawServer(socketserver.ThreadingTCPServer):
    """Answers each request with bytes and keeps the connection, or with pieces of bytes and closes it."""

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, answer: Callable[[bytes], Answer], tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), None)
        self.port = self.server_address[1]
        self.requests: list[bytes] = []
        self.connections = 0
        self._answer = answer
        self._tls = tls

    def finish_request(self, request, client_address):
        self.connections += 1
        with suppress(OSError):
            if self._tls is None:
                self._serve(request)
            else:
                with self._tls.wrap_socket(request.dup(), server_side=True) as secured:
                    self._serve(secured)

    def _serve(self, connection):
        received = b""
        while piece := connection.recv(65536):
            received += piece
            while b"\r\n\r\n" in received:
                request, _, received = received.partition(b"\r\n\r\n")
                self.requests.append(request)
                answer = self._answer(request)
                if not isinstance(answer, bytes):
                    for part in answer:
                        connection.sendall(part)
                    return
                connection.sendall(answer)


@contextmanager
def serving(answer: Answer | Callable[[bytes], Answer], tls: ssl.SSLContext | None = None):
    with at_work(RawServer(answer if callable(answer) else lambda _: answer, tls)) as server:
        yield server


def link(server: RawServer, path: str = "/a.png?ex=1&hm=SECRET") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def new_downloader(allow: str = "127.0.0.1", limits: Limits = QUICK) -> closing[Downloader]:
    """To be left before its server, which waits for its connections."""
    return closing(Downloader(allow, limits))


def fetch(downloader: Downloader, url: str) -> bytes:
    with downloader.fetch(url, ()) as download:
        return download.file.read()


@pytest.fixture
def names(monkeypatch):
    """Name → the answers of its resolver, one after the other."""
    answers: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def resolve(host, port, *args, **options):
        if host in answers:
            host = answers[host].pop(0)
        return real(host, port, *args, **options, flags=socket.AI_NUMERICHOST)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return answers


def refused(kind: type[DownloadError], answer: Answer | Callable[[bytes], Answer], limits: Limits = QUICK) -> str:
    """The text of the error with which a download ends; it always says where, and never the query."""
    with serving(answer) as server, new_downloader(limits=limits) as downloader:
        with pytest.raises(DownloadError) as caught:
            fetch(downloader, link(server))
        assert type(caught.value) is kind
        text = str(caught.value)
        assert link(server, "/a.png") in text
        assert "SECRET" not in text
        return text


def test_a_download_holds_the_bytes_their_hash_and_the_declared_type():
    body = os.urandom(3 * 1024 * 1024 + 17)
    with serving(ok(body, "Content-Type: image/png")) as server, new_downloader() as downloader:
        with downloader.fetch(link(server), ()) as download:
            assert download.file.tell() == 0
            assert download.file.read() == body
            assert download.sha256 == hashlib.sha256(body).hexdigest()
            assert download.bytes == len(body)
            assert download.declared_type == "image/png"
        assert download.file.closed


@pytest.mark.parametrize(("size", "is_on_disk"), [(0, False), (MEMORY_PART, False), (MEMORY_PART + 1, True)])
def test_only_a_large_download_touches_the_disk(size, is_on_disk):
    with (
        serving(ok(bytes(size))) as server,
        new_downloader() as downloader,
        downloader.fetch(link(server), ()) as download,
    ):
        assert download.bytes == size
        assert download.file._rolled is is_on_disk


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nthe \r\n5;x=y\r\nbytes\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nthe bytes",
        b"HTTP/1.0 200 OK\r\n\r\nthe bytes",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nthe bytes",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Encoding: identity\r\n\r\nthe bytes",
    ],
    ids=["chunks", "until closed", "HTTP/1.0", "100 first", "identity"],
)
def test_each_form_of_a_whole_body_is_read(answer):
    with serving(lambda _: close_after(answer)) as server, new_downloader() as downloader:
        assert fetch(downloader, link(server)) == b"the bytes"


def test_the_link_goes_over_the_wire_as_it_is_and_with_no_other_header():
    path = "//a//b%2f%2F/./../%zz?x='\"{}|^`[]\\&&y=%C3&width=&"
    with serving(ok()) as server, new_downloader() as downloader:
        fetch(downloader, link(server, f"{path}#fragment"))
    lines = server.requests[0].decode("ascii").split("\r\n")
    assert lines[0] == f"GET {path} HTTP/1.1"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers.pop("User-Agent").startswith("Darkroom")
    assert headers == {"Host": f"127.0.0.1:{server.port}", "Accept": "*/*", "Accept-Encoding": "identity"}


def test_netrc_and_cookies_play_no_part(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(ok(BODY, "Set-Cookie: a=b; Path=/")) as server, new_downloader() as downloader:
        for _ in range(2):
            assert fetch(downloader, link(server)) == BODY
    for request in server.requests:
        assert b"Cookie" not in request
        assert b"Authorization" not in request


# --- connections ------------------------------------------------------------------------------------------------------


def test_connections_are_kept_alive_and_used_again():
    with serving(ok()) as server, new_downloader() as downloader:
        for number in range(5):
            assert fetch(downloader, link(server, f"/{number}.png")) == BODY
    assert len(server.requests) == 5
    assert server.connections == 1


def test_a_kept_connection_that_the_server_has_closed_meanwhile_is_replaced():
    with serving(lambda _: close_after(ok())) as server, new_downloader() as downloader:
        for _ in range(3):
            assert fetch(downloader, link(server)) == BODY
    assert server.connections == 3


def test_a_connection_that_was_idle_for_too_long_is_not_used_again(monkeypatch):
    monkeypatch.setattr(connections, "_MAX_IDLE", -1)
    with serving(ok()) as server, new_downloader() as downloader:
        for _ in range(3):
            fetch(downloader, link(server))
    assert server.connections == 3


def test_only_so_many_connections_are_kept(monkeypatch):
    monkeypatch.setattr(connections, "_MAX_KEPT", 1)
    with serving(ok()) as first, serving(ok()) as second, new_downloader() as downloader:
        for server in (first, second, first):
            fetch(downloader, link(server))
    assert (first.connections, second.connections) == (2, 1)


def test_a_connection_with_an_unread_rest_is_not_used_again():
    gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"
    with serving(lambda request: gone if b"/gone" in request else ok()) as server, new_downloader() as downloader:
        with pytest.raises(LinkDead):
            fetch(downloader, link(server, "/gone"))
        assert fetch(downloader, link(server)) == BODY
    assert server.connections == 2


def test_sixteen_threads_may_share_one_downloader():
    def body_of(number: int) -> bytes:
        return str(number).encode() * 50_000

    def answer(request: bytes) -> bytes:
        return ok(body_of(int(request.split()[1].removeprefix(b"/"))))

    with serving(answer) as server, new_downloader() as downloader, ThreadPoolExecutor(16) as pool:
        bodies = pool.map(lambda number: fetch(downloader, link(server, f"/{number}")), range(128))
        assert all(body == body_of(number) for number, body in enumerate(bodies))
    assert server.connections <= 16


def test_what_the_caller_raises_is_not_mistaken_for_trouble_with_the_link():
    with (
        serving(ok()) as server,
        new_downloader() as downloader,
        pytest.raises(OSError, match="bucket"),
        downloader.fetch(link(server), ()),
    ):
        raise OSError("bucket")


# --- places -----------------------------------------------------------------------------------------------------------


def test_the_checked_address_is_the_one_connected_to_although_the_name_changes_its_answer(names):
    names["cdn.test"] = ["127.0.0.1", "127.0.0.2"]
    with serving(ok()) as server, new_downloader("cdn.test,127.0.0.1") as downloader:
        assert fetch(downloader, f"http://cdn.test:{server.port}/a.png") == BODY
        assert names["cdn.test"] == ["127.0.0.2"], "the name was resolved more than once"
        assert f"Host: cdn.test:{server.port}".encode() in server.requests[0]
        downloader.close()
        with pytest.raises(LinkForbidden, match=r"127\.0\.0\.2"):
            fetch(downloader, f"http://cdn.test:{server.port}/a.png")
    assert server.connections == 1


def test_a_redirect_is_followed_to_an_allowed_place_with_its_query_unchanged():
    with serving(ok()) as there:
        location = f"Location: {link(there, '//b.png?Signature=a%2fb&&x=')}"
        with serving(reply("302 Found", location)) as here, new_downloader() as downloader:
            assert fetch(downloader, link(here)) == BODY
    assert there.requests[0].startswith(b"GET //b.png?Signature=a%2fb&&x= HTTP/1.1")


def test_a_relative_redirect_stays_with_its_server():
    def answer(request: bytes) -> bytes:
        return ok() if b"/b.png?y=1 " in request else reply("307 Temporary Redirect", "Location: b.png?y=1")

    with serving(answer) as server, new_downloader() as downloader:
        assert fetch(downloader, link(server)) == BODY
    assert server.connections == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/?SECRET",
        "https://127.0.0.2/",
        "https://metadata.google.internal/",
        "//evil.test/a.png",
        "file:///etc/passwd",
        "https://user:SECRET@127.0.0.1/",
    ],
)
def test_a_redirect_to_a_forbidden_place_is_not_followed(location, names):
    text = refused(LinkForbidden, reply("302 Found", f"Location: {location}"))
    assert "redirects to a forbidden address" in text


def test_a_redirect_to_what_is_no_link_is_refused():
    assert "redirects to an invalid link" in refused(DownloadError, reply("301 Moved", "Location: http://[/"))


def test_a_link_that_redirects_for_ever_is_given_up():
    assert "redirected more than 3 times" in refused(DownloadError, reply("302 Found", "Location: /a.png"))
    assert "redirected more than 3 times" in refused(DownloadError, reply("302 Found"))


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_dead_link_is_told_from_a_passing_trouble(status):
    assert f"HTTP {status}" in refused(LinkDead, reply(f"{status} Gone"))


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "503 Busy"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Just a moment...</title>", b"error code: 1010", b"\n<html>"])
def test_a_firewall_that_answers_in_place_of_the_file_says_nothing_about_the_file(status, page):
    answer = f"HTTP/1.1 {status}\r\nContent-Length: {len(page)}\r\n\r\n".encode() + page
    assert f"HTTP {status[:3]} from a firewall" in refused(LinkBlocked, answer)
    assert "from a firewall" in refused(LinkBlocked, reply(status, "cf-mitigated: challenge"))


@pytest.mark.parametrize("status", [204, 206, 300, 304, 401, 429, 500, 503])
def test_every_other_status_is_a_passing_trouble(status):
    assert f"HTTP {status}" in refused(DownloadError, reply(f"{status} Whatever"))


PLAIN = [
    *("", "identity", "aws-chunked", "identity, aws-chunked", "utf-8", "UTF8", "binary", "none", "png"),
    *("gzip", "deflate", "aws-chunked,gzip", "br"),
]


@pytest.mark.parametrize("coding", PLAIN)
def test_plain_bytes_are_plain_whatever_coding_the_server_names(coding):
    with serving(ok(BODY, f"Content-Encoding: {coding}")) as server, new_downloader() as downloader:
        assert fetch(downloader, link(server)) == BODY


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", "gzip, aws-chunked", "deflate", "identity,gzip,utf-8"])
@pytest.mark.parametrize("chunked", [False, True])
def test_gzip_and_deflate_are_undone(coding, chunked):
    body = os.urandom(400_000) + bytes(3_000_000)
    coded = zlib.compress(body) if coding == "deflate" else gzip.compress(body) + gzip.compress(b"more") + bytes(100)
    body += b"" if coding == "deflate" else b"more"
    answer = ok(coded, f"Content-Encoding: {coding}", 'ETag: "v1"', "Accept-Ranges: bytes")
    if chunked:
        # The first two bytes, by which it is told, come one after the other.
        parts = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (coded[:1], coded[1:2], coded[2:], b""))
        headers = f"Transfer-Encoding: chunked\r\nContent-Encoding: {coding}"
        answer = f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode() + parts
    with serving(answer) as server, new_downloader() as downloader, downloader.fetch(link(server), ()) as download:
        assert download.file.read() == body
        assert (download.sha256, download.bytes) == (hashlib.sha256(body).hexdigest(), len(body))


def test_a_gzip_bomb_ends_at_the_limit():
    bomb = gzip.compress(bytes(200_000_000), 9)
    assert "larger than the limit of 4,194,304 bytes" in refused(ContentInvalid, ok(bomb, "Content-Encoding: gzip"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda coded: coded[:-8], "truncated: "),
        (lambda coded: coded[:10] + b"\xff" * 20, "damaged: "),
        (lambda coded: coded + b"<script>", "data after the end"),
    ],
)
def test_damaged_gzip_is_refused(spoil, reason):
    assert reason in refused(ContentInvalid, ok(spoil(gzip.compress(BODY)), "Content-Encoding: gzip"))


def test_a_transfer_coding_that_is_not_known_is_refused():
    answer = close_after(ok(BODY, "Transfer-Encoding: gzip, chunked"))
    assert "gzip, chunked" in refused(ContentInvalid, answer)


def test_who_is_refused_as_a_program_asks_once_more_as_a_browser_and_remembers_that():
    def answer(request):
        return ok() if b"User-Agent: Mozilla/" in request else reply("403 Forbidden")

    with serving(answer) as server, new_downloader() as downloader:
        assert fetch(downloader, link(server)) == BODY
        assert len(server.requests) == 2
        assert fetch(downloader, link(server)) == BODY
        assert len(server.requests) == 3


def test_who_is_told_to_wait_does_not_ask_once_more():
    with serving(reply("429 Too Many Requests", "cf-mitigated: challenge")) as server, new_downloader() as downloader:
        with pytest.raises(LinkBlocked):
            fetch(downloader, link(server))
        assert len(server.requests) == 1


def test_the_user_agent_is_as_set():
    with serving(ok()) as server, closing(Downloader("127.0.0.1", QUICK, "Engine/1")) as downloader:
        fetch(downloader, link(server))
        assert b"\r\nUser-Agent: Engine/1" in server.requests[0]


SMALL = Limits(connect=10, read=10, bytes=1000)


def test_a_download_that_is_as_large_as_the_limit_is_accepted():
    with serving(ok(bytes(1000))) as server, new_downloader(limits=SMALL) as downloader:
        assert len(fetch(downloader, link(server))) == 1000


def test_what_is_too_large_by_its_header_is_refused_before_it_is_read():
    headers = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n"
    assert "1,000 bytes" in refused(ContentInvalid, headers, limits=SMALL)


@pytest.mark.parametrize("headers", ["Transfer-Encoding: chunked", "Connection: close"])
def test_what_is_too_large_by_count_is_refused(headers):
    start = f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode()
    piece = b"10000\r\n" + bytes(65536) + b"\r\n"
    assert "1,000 bytes" in refused(ContentInvalid, iter([start, *[piece] * 5]), limits=SMALL)


def test_a_body_that_is_shorter_than_stated_is_truncated():
    text = refused(ContentInvalid, close_after(ok(BODY).replace(b"Length: 21", b"Length: 1121")))
    assert "truncated: received 21 of 1,121 bytes" in text


def test_a_body_in_chunks_without_the_last_one_is_truncated():
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for rest in (b"4\r\nthe \r\n", b"4\r\nth", b""):
        assert "truncated" in refused(ContentInvalid, close_after(start + rest))


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n", b""],
    ids=["SSH", "no status", "200 headers", "nothing"],
)
def test_what_is_not_http_is_a_passing_trouble(answer):
    refused(DownloadError, lambda _: close_after(answer))


def test_a_port_where_nobody_listens_is_a_passing_trouble():
    with serving(ok()) as server:
        pass
    with new_downloader() as downloader, pytest.raises(DownloadError, match="Connection refused"):
        fetch(downloader, link(server))


# --- time -------------------------------------------------------------------------------------------------------------

HASTY = Limits(connect=5, read=5, grace=0.4, least=10_000)


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        (b"", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["body", "body without length", "chunks", "one header", "headers", "status line", "100 for ever"],
)
def test_a_slow_drip_is_stopped_by_the_least_pace(start, drop):
    began = time.monotonic()
    assert "less than 10000 per second" in refused(TooSlow, dripping(start, drop), limits=HASTY)
    assert time.monotonic() - began > 0.35


def test_a_server_that_falls_silent_is_given_up():
    def silent():
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx"
        time.sleep(0.5)

    limits = Limits(connect=1, read=0.1)
    assert "too slow: no data for 0.1 seconds" in refused(TooSlow, silent(), limits=limits)


def test_redirects_share_one_pace():
    def answer(_: bytes) -> bytes:
        time.sleep(0.15)
        return reply("302 Found", "Location: /a.png")

    assert "less than 10000 per second" in refused(TooSlow, answer, limits=HASTY)


def test_a_download_may_take_as_long_as_its_bytes_come():
    steady = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n", b"x")
    with serving(steady) as server, new_downloader(limits=Limits(read=10, grace=0.1, least=1)) as downloader:
        assert len(fetch(downloader, link(server))) == 200


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.fixture
def certified(monkeypatch, tmp_path):
    """A server's TLS settings for cdn.test, with a certificate that REQUESTS_CA_BUNDLE trusts."""
    pytest.importorskip("cryptography", reason="makes the certificate; comes with moto")
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "cdn.test")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("cdn.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "cdn.test.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_the_certificate_is_verified_for_the_name_in_the_link_and_not_for_the_address(certified, names):
    names.update({"cdn.test": ["127.0.0.1"], "other.test": ["127.0.0.1"]})
    asked_for = []
    certified.sni_callback = lambda _socket, name, _context: asked_for.append(name)
    body = os.urandom(2 * 1024 * 1024)
    with serving(ok(body), certified) as server, new_downloader("cdn.test,other.test,127.0.0.1") as downloader:
        for _ in range(2):
            assert fetch(downloader, f"https://cdn.test:{server.port}/a.png") == body
        assert server.connections == 1
        assert asked_for == ["cdn.test"]
        with pytest.raises(
            DownloadError, match=r"^https://other\.test:\d+/a\.png: its certificate is not valid: Hostname"
        ):
            fetch(downloader, f"https://other.test:{server.port}/a.png?SECRET")


def test_a_certificate_that_nobody_vouches_for_is_refused(certified, names, monkeypatch, tmp_path):
    names["cdn.test"] = ["127.0.0.1"]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    with (
        serving(ok(), certified) as server,
        new_downloader("cdn.test,127.0.0.1") as downloader,
        pytest.raises(DownloadError, match="its certificate is not valid: self-signed certificate"),
    ):
        fetch(downloader, f"https://cdn.test:{server.port}/a.png")


def test_a_server_that_speaks_no_tls_is_a_passing_trouble(names):
    names["cdn.test"] = ["127.0.0.1"]
    with (
        serving(lambda _: close_after(b"")) as server,
        new_downloader("cdn.test,127.0.0.1", HASTY) as downloader,
        pytest.raises(DownloadError),
    ):
        fetch(downloader, f"https://cdn.test:{server.port}/a.png")


def test_a_missing_file_of_certificates_is_refused_by_the_name_of_its_setting(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(
        ConfigurationError, match=r"^REQUESTS_CA_BUNDLE: cannot read certificates from /nowhere/ca\.pem"
    ):
        Downloader()


def test_without_a_setting_the_certificates_of_requests_are_trusted(monkeypatch):
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with new_downloader() as downloader:
        assert downloader._connections._tls.cert_store_stats()["x509_ca"] > 50
