"""Which addresses a submission may name: https and public, or what a setting names. Nothing of them is shown."""

import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.worker.providers.loopback import Loopback, reply
from worker.net import is_public
from worker.subscribers import Line, NotifyAddress, NotifyRule

TOKEN = "hunter2hunter2"
PATHS = "/hooks?order=17&key=" + TOKEN
SSRF = [
    line
    for line in (Path(__file__).parents[2] / "payloads/ssrf-links.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
#: what is translated must be public as well
NAT64 = tuple(ipaddress.ip_network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48"))


def refusal(url: str, allow: str = "") -> str:
    with pytest.raises(ValueError, match=r"^(is|has|must) ") as refused:
        NotifyRule(allow).read(url)
    said = str(refused.value)
    assert TOKEN not in said
    assert refused.value.__cause__ is None
    return said


@pytest.mark.parametrize(
    "url",
    [
        f"https://shop.example.com{PATHS}",
        "https://shop.example.com",
        "https://SHOP.example.com:8443/hooks,and/more",
        "https://93.184.216.34/hooks",
        "https://[2606:2800:220:1::1]/hooks",
        "https://xn--bcher-kva.example/in",
        "https://shop/hooks",
    ],
)
def test_public_addresses_with_https_are_taken_as_they_are(url: str):
    assert NotifyRule("").read(url) == NotifyAddress(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://shop.example.com/" + TOKEN, "must be https, unless DARKROOM_NOTIFY_ALLOW names its host"),
        ("ftp://shop.example.com/" + TOKEN, "is not of the form https://host/path"),
        ("shop.example.com/" + TOKEN, "is not of the form https://host/path"),
        ("https:///" + TOKEN, "is not of the form"),
        ("https://shop.example.com:0/" + TOKEN, "is not of the form"),
        ("https://shop.example.com:99999/" + TOKEN, "is not of the form"),
        (f"https://{TOKEN}:x@shop.example.com/", "has a user name or a #"),
        (f"https://shop.example.com/#{TOKEN}", "has a user name or a #"),
        (f"https://shop.example.com/a b{TOKEN}", "is not of the form"),
        (f"https://shop.example.com/\n{TOKEN}", "is not of the form"),
        (f"https://shop.example.com\\.evil.test/{TOKEN}", "is not of the form"),
        (f"https://bücher.example/{TOKEN}", "is not of the form"),
        (f"https://shop.example.com/{'x' * 2048}{TOKEN}", "has more than 2,048 characters"),
        (f"https://[2606:2800:220:1::1%25eth0]/{TOKEN}", "is not of the form"),
        ("https://10.0.0.7/" + TOKEN, "is not public: name its host and its address or network"),
        ("https://localhost/" + TOKEN, "is not public"),
        ("https://in.localhost/" + TOKEN, "is not public"),
    ],
)
def test_every_other_is_refused_in_a_sentence_without_it(url: str, words: str):
    assert refusal(url).startswith(words)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("link", [one for one in SSRF if ".test" not in one])
def test_no_way_of_writing_a_private_address_gets_through(link: str, scheme: str):
    refusal(link.replace("http://", f"{scheme}://", 1))


@given(
    address=st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    port=st.sampled_from(["", ":443", ":8443"]),
    path=st.sampled_from(["", "/", PATHS]),
)
@settings(max_examples=examples(400), deadline=None)
def test_an_address_is_taken_exactly_if_it_is_public(address: Any, port: str, path: str):
    host = f"[{address}]" if address.version == 6 else str(address)
    url = f"https://{host}{port}{path}"
    if is_public(address):
        assert NotifyRule("").read(url).url == url
    else:
        refusal(url)
        if not any(address in network for network in NAT64):
            assert NotifyRule(str(address)).read(url).url == url


@pytest.mark.parametrize(
    ("allow", "url", "is_taken"),
    [
        ("hooks.internal", "http://hooks.internal/in", True),
        ("hooks.internal", "http://other.internal/in", False),
        ("hooks.internal:8080", "http://hooks.internal:8080/in", True),
        ("hooks.internal:8080", "http://hooks.internal:8081/in", False),
        ("10.1.0.0/16", "http://10.1.2.3/in", True),
        ("10.1.0.0/16", "https://10.2.2.3/in", False),
        ("127.0.0.1:9000", "http://127.0.0.1:9000/in", True),
        ("127.0.0.1:9000", "http://127.0.0.1:9001/in", False),
        ("localhost", "http://localhost:3000/in", True),
        ("169.254.0.0/16", "https://169.254.169.254/in", False),
        ("fd00::/8", "http://[fd00:ec2::254]/in", False),
        ("fd00::/8", "http://[fd00:ec2::254%251]/in", False),
    ],
)
def test_the_setting_opens_what_it_names(allow: str, url: str, is_taken: bool):
    if is_taken:
        assert NotifyRule(allow).read(url).url == url
    else:
        refusal(url, allow)


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Every name leads there."""
    found = [
        (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["169.254.169.254"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["100.64.1.1"],
        ["fd00:ec2::254"],
    ],
)
def test_a_name_that_leads_inside_is_refused_when_connecting(monkeypatch: pytest.MonkeyPatch, addresses: list[str]):
    resolving(monkeypatch, *addresses)
    rule = NotifyRule("")
    address = rule.read(f"https://rebind.example.com{PATHS}")

    def connect(*_: Any) -> None:
        pytest.fail("nothing may be connected to")

    monkeypatch.setattr(socket.socket, "connect", connect)
    with Line(address.origin, rule.guard) as line:
        refused = line.post(b"{}", {}, address.url).refusal
    assert refused is not None
    assert refused.reason.startswith("its host name resolves to an address that is not public: add that address")
    assert not refused.final


def test_a_name_may_lead_to_a_network_that_the_setting_names_and_each_address_has_its_path(
    monkeypatch: pytest.MonkeyPatch,
):
    def three_times(server: Loopback, connection: socket.socket) -> None:
        for _ in range(3):
            server.read_request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with Loopback(three_times) as server:
        rule = NotifyRule(f"hooks.internal,127.0.0.1:{server.port}")
        resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", lambda _, port, **how: resolve("127.0.0.1", port, **how))
        urls = [f"http://hooks.internal:{server.port}/hook?order={number}" for number in range(3)]
        with Line(rule.read(urls[0]).origin, rule.guard) as line:
            assert [line.post(b"{}", {}, url).refusal for url in urls] == [None] * 3
    heads = [request.split(b"\r\n")[0] for request in server.requests]
    assert heads == [f"POST /hook?order={number} HTTP/1.1".encode() for number in range(3)]
    assert server.connections == 1


def test_what_operators_declare_may_still_be_private():
    with Loopback(reply(204, b"")) as server, Line(f"{server.url}/in") as line:
        assert line.post(b"{}", {}).refusal is None


def test_an_address_shows_only_where_it_is():
    address = NotifyAddress(f"https://shop.example.com:8443{PATHS}")
    assert TOKEN not in repr(address)
    assert address.origin == "https://shop.example.com:8443"
    assert TOKEN not in address.subscriber
