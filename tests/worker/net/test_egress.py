"""Behind a real proxy, which stands on loopback and leads to places whose names nobody else knows."""

import base64
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.forward_proxy import ForwardProxy
from tests.worker.downloads.test_download import BODY, fetch, new_downloader, ok, serving
from tests.worker.providers.loopback import Behaviour, Loopback, refused_port, reply
from tests.worker.providers.test_http import PAYLOAD, client, submit, tls_server
from worker.archive.client import _proxies
from worker.errors import ConfigurationError, DownloadError, LinkDead, LinkForbidden, NotTaken, QueryFailed, Uncertain
from worker.net import egress
from worker.net.addresses import PORTS
from worker.secrets.redaction import RedactingFormatter
from worker.services import secret_values
from worker.settings.settings import load_settings
from worker.subscribers import posting
from worker.subscribers.posting import Line

SECRET = "pa:ss@word"
USER = "http://robot:pa%3Ass%40word@"
BASIC = "Proxy-Authorization: Basic " + base64.b64encode(f"robot:{SECRET}".encode()).decode()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForwardProxy]:
    with ForwardProxy() as running:
        for name in ("HTTPS_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"{USER}127.0.0.1:{running.port}")
        yield running


@pytest.fixture
def place(
    proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[Behaviour], Loopback]]:
    """A server behind the proxy, with a certificate for vendor.test."""
    started: list[Loopback] = []
    tls = tls_server(tmp_path, "vendor.test")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "cert.pem"))
    posting._tls.cache_clear()

    def start(behaviour: Behaviour, host: str = "vendor.test", *, plain: bool = False) -> Loopback:
        server = Loopback(behaviour, tls=None if plain else tls)
        started.append(server.__enter__())
        proxy.places[host] = server.port
        return server

    yield start
    posting._tls.cache_clear()
    for server in started:
        server.__exit__(None, None, None)


# --- calls to providers -----------------------------------------------------------------------------------------------


def test_a_call_goes_through_a_tunnel_and_tells_the_password_only_to_the_proxy(proxy, place):
    server = place(reply(200, {"id": 1}))
    assert client("https://vendor.test").post_once("/submit", PAYLOAD) == {"id": 1}
    assert proxy.heads == [f"CONNECT vendor.test:443 HTTP/1.1\r\nHost: vendor.test:443\r\n{BASIC}"]
    assert b"proxy" not in server.requests[0].lower()
    assert server.bodies == [PAYLOAD]


def test_a_plain_call_is_asked_of_the_proxy_by_its_whole_address(proxy, place):
    server = place(reply(200, {"id": 1}), plain=True)
    assert client("http://vendor.test:8080").post_once("/submit", PAYLOAD) == {"id": 1}
    (head,) = proxy.heads
    assert head.startswith("POST http://vendor.test:8080/submit HTTP/1.1\r\n")
    assert BASIC in head
    assert server.requests[0].startswith(b"POST /submit HTTP/1.1\r\nHost: vendor.test:8080\r\n")
    assert server.bodies == [PAYLOAD]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Who?\r\n\r\n", "HTTP 407: it requires another user name"),
        (b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "HTTP 403: it forbids this host"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "HTTP 502"),
        (b"", "closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "closed the connection"),
    ],
)
def test_a_proxy_that_opens_no_tunnel_means_not_taken(proxy, answer, reason):
    proxy.answer = answer
    error = submit("https://vendor.test")
    assert (type(error), error.code) == (NotTaken, "proxy")
    assert f"the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY) " in str(error)
    assert reason in str(error)
    assert "robot" not in str(error)
    with pytest.raises(QueryFailed, match=r"\(HTTPS_PROXY\)"):
        client("https://vendor.test").get("/fetch")


@pytest.mark.parametrize("url", ["https://vendor.test", "http://vendor.test"])
def test_a_proxy_that_is_not_there_means_not_taken(monkeypatch, url):
    for name in ("HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, f"127.0.0.1:{refused_port()}")
    error = submit(url)
    assert (type(error), error.code) == (NotTaken, "proxy")
    assert "is unreachable: Connection refused" in str(error)


def test_a_proxy_that_passes_a_plain_call_not_on_means_not_taken(proxy):
    proxy.answer = b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n"
    assert type(submit("http://vendor.test")) is NotTaken


def test_a_proxy_that_answers_byte_by_byte_ends_in_time(monkeypatch):
    def drip(server, connection):
        server.read_request(connection)
        while not server.stopping.wait(0.02):
            connection.sendall(b"H")

    monkeypatch.setattr("worker.providers.http.CONNECT_TIMEOUT", 0.3)
    with Loopback(drip) as slow:
        monkeypatch.setenv("https_proxy", slow.url)
        assert submit("https://vendor.test").code == "proxy"


def test_a_certificate_for_another_name_means_not_taken_and_nothing_is_sent(place):
    server = place(reply(200, {"id": 1}), host="other.test")
    error = submit("https://other.test")
    assert (type(error), error.code) == (NotTaken, "tls_failed")
    assert server.requests == []


def test_a_tunnel_that_is_cut_after_the_request_leaves_it_uncertain(proxy, place):
    def cut(server, connection):
        server.read_request(connection)
        proxy.cut()

    server = place(cut)
    assert type(submit("https://vendor.test")) is Uncertain
    assert len(server.requests) == 1


def test_this_machine_is_reached_directly(proxy):
    with Loopback(reply(200, {"id": 1})) as server:
        assert client(server.url).post_once("/submit", PAYLOAD) == {"id": 1}
        assert client(server.url.replace("127.0.0.1", "localhost")).post_once("/submit", PAYLOAD) == {"id": 1}
    assert proxy.heads == []


# --- downloads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", PORTS)
def test_a_download_goes_through_the_proxy_and_its_link_stays_as_it_is(proxy, place, scheme):
    with serving(ok()) as server:
        proxy.places["vendor.test"] = server.port
        if scheme == "https":
            place(lambda running, connection: (running.read_request(connection), connection.sendall(ok())))
        with new_downloader("vendor.test") as downloader:
            # The proxy of these tests passes one plain request of a connection on.
            for _ in range(2 if scheme == "https" else 1):
                assert fetch(downloader, f"{scheme}://vendor.test/a%2fb.png?hm=SE%20CRET") == BODY
    if scheme == "https":
        assert set(proxy.heads) == {f"CONNECT vendor.test:443 HTTP/1.1\r\nHost: vendor.test:443\r\n{BASIC}"}
    else:
        assert proxy.heads[0].startswith("GET http://vendor.test/a%2fb.png?hm=SE%20CRET HTTP/1.1\r\n")
        (request,) = server.requests
        assert request.startswith(b"GET /a%2fb.png?hm=SE%20CRET HTTP/1.1\r\nHost: vendor.test\r\n")
        assert b"proxy" not in request.lower()


def test_a_proxy_that_refuses_costs_a_download_only_time(proxy):
    proxy.answer = b"HTTP/1.1 403 No\r\n\r\n"
    with new_downloader("vendor.test") as downloader, pytest.raises(DownloadError, match="refuses a tunnel") as caught:
        fetch(downloader, "https://vendor.test/a.png?hm=SECRET")
    assert not isinstance(caught.value, LinkDead | LinkForbidden)
    assert "robot" not in str(caught.value)


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[fd00::1]"])
def test_a_forbidden_address_in_a_link_is_refused_before_the_proxy_is_asked(proxy, host):
    with new_downloader("") as downloader, pytest.raises(LinkForbidden, match="from this address"):
        downloader.fetch(f"https://{host}/a.png", {host.strip("[]")}).__enter__()
    assert proxy.heads == []


# --- webhooks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", PORTS)
def test_a_webhook_goes_through_the_proxy(proxy, place, scheme):
    server = place(reply(204, b""), plain=scheme == "http")
    with Line(f"{scheme}://vendor.test/hook?key=k") as line:
        assert line.post(b"{}", {"webhook-id": "evt_1"}).refusal is None
    assert BASIC in proxy.heads[0]
    assert server.requests[0].startswith(b"POST /hook?key=k HTTP/1.1\r\nHost: vendor.test\r\n")
    assert b"proxy" not in server.requests[0].lower()


def test_a_proxy_that_refuses_is_told_as_such(proxy):
    proxy.answer = b"HTTP/1.1 407 Who?\r\n\r\n"
    with Line("https://vendor.test/hook") as line:
        refusal = line.post(b"{}", {}).refusal
    assert refusal is not None
    assert f"the proxy 127.0.0.1:{proxy.port} (HTTPS_PROXY) refuses a tunnel" in refusal.reason
    assert not refusal.final


def test_a_plain_webhook_to_a_public_address_is_not_handed_to_a_proxy_either(proxy, monkeypatch):
    monkeypatch.setattr(posting.socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", ("8.8.8.8", 80))])
    with Line("http://vendor.test/hook") as line:
        refusal = line.post(b"{}", {}).refusal
    assert refusal is not None
    assert "use https" in refusal.reason
    assert proxy.heads == []


# --- the settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "is_direct"),
    [
        ("", "vendor.test", 443, False),
        ("vendor.test", "vendor.test", 443, True),
        ("VENDOR.test", "api.Vendor.test", 443, True),
        (".vendor.test, other.test", "api.vendor.test", 443, True),
        ("*.vendor.test", "api.vendor.test", 443, True),
        ("dor.test", "vendor.test", 443, False),
        ("api.vendor.test", "vendor.test", 443, False),
        ("vendor.test:8443", "vendor.test", 443, False),
        ("vendor.test:443", "vendor.test", 443, True),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3", "10.1.2.33", 443, False),
        ("fd00::/8", "fd00::1", 443, True),
        ("[fd00::1]:443", "fd00::1", 443, True),
        ("fd00::1", "fd00::1", 443, True),
        ("other.test *", "vendor.test", 443, True),
        ("*", "vendor.test", 443, True),
        ("", "127.0.0.1", 443, True),
        ("", "127.1.2.3", 443, True),
        ("", "::1", 443, True),
        ("", "localhost", 443, True),
        ("", "api.localhost", 443, True),
        ("vendor.test", "10.0.0.1", 443, False),
    ],
)
def test_no_proxy_excepts_names_addresses_and_networks(proxy, monkeypatch, no_proxy, host, port, is_direct):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, no_proxy)
        assert (egress.proxy_for("https", host, port) is None) == is_direct
        monkeypatch.delenv(name)


def test_each_scheme_has_its_proxy_and_small_letters_count_first(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://upper.test:1")
    assert str(egress.proxy_for("https", "vendor.test", 443)) == "upper.test:1 (HTTPS_PROXY)"
    assert egress.proxy_for("http", "vendor.test", 80) is None
    monkeypatch.setenv("https_proxy", "lower.test:2")
    monkeypatch.setenv("http_proxy", "http://[::1]:3/")
    assert str(egress.proxy_for("https", "vendor.test", 443)) == "lower.test:2 (https_proxy)"
    assert str(egress.proxy_for("http", "vendor.test", 80)) == "[::1]:3 (http_proxy)"
    monkeypatch.setenv("https_proxy", "")
    assert str(egress.proxy_for("https", "vendor.test", 443)) == "upper.test:1 (HTTPS_PROXY)"


@pytest.mark.parametrize(
    "value",
    [
        "socks5://hunter2@proxy:1080",
        "https://user:hunter2@proxy:443",
        "http://user:hunter2@",
        "http://user:hunter2@proxy:notaport",
        "http://user:hunter2@proxy:99999",
        "http://user:hunter2@[fd00::1:3128",
        "http://user:hunter2@pröxy:3128",
        "http://user:hunter2@proxy:3128/path",
        "http://user:hunt/er2@proxy:3128",
        "http://",
    ],
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy"])
def test_a_malformed_proxy_is_told_with_its_variable_and_without_its_password(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=rf"^{name} is not a proxy address: write it as http://") as caught:
        load_settings()
    assert "hunt" not in str(caught.value)


def test_no_log_shows_what_a_proxy_is_told(proxy, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://longtoken123@proxy.test:3128")
    formatter = RedactingFormatter(secret_values(load_settings()))
    record = logging.LogRecord(
        "x", logging.INFO, "x", 1, f"{USER}proxy:1 {SECRET} {BASIC} longtoken123 {USER}p", None, None
    )
    line = formatter.format(record)
    assert SECRET not in line
    assert "ss%40word" not in line
    assert "longtoken123" not in line
    assert BASIC.split()[-1] not in line
    assert SECRET not in repr(egress.proxies())
    assert BASIC.split()[-1] not in repr(egress.proxies())


@pytest.mark.parametrize(
    ("address", "is_direct"), [("10.1.2.3", True), ("127.0.0.1", True), ("8.8.8.8", False), (None, False)]
)
def test_a_store_in_a_private_network_is_reached_directly(proxy, monkeypatch, address, is_direct):
    def resolve(*_: object, **__: object) -> list[tuple[object, ...]]:
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(0, 0, 0, "", (address, 443))]

    monkeypatch.setattr(egress.socket, "getaddrinfo", resolve)
    assert (_proxies("https://store.test") == {}) == is_direct
    assert _proxies("https://s3.eu-central-1.amazonaws.com") != {}
