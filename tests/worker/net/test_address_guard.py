"""No link leads to a forbidden address or port. Sockets are intercepted, so nothing leaves the machine."""

import ast
import ipaddress
import itertools
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.downloads.download import Downloader
from worker.errors import AddressForbidden, ConfigurationError, DownloadError, LinkForbidden
from worker.net.address_guard import AddressGuard, origin_of

PUBLIC = "93.184.216.34"
SSRF_LINES = (Path(__file__).parents[2] / "payloads/ssrf-links.txt").read_text(encoding="utf-8").splitlines()
SSRF_LINKS = [line for line in SSRF_LINES if not line.startswith("#")]


def listed_names() -> dict[str, list[list[str]]]:
    """Name → the answers of its resolver, one after the other."""
    names = {}
    for line in SSRF_LINES:
        name, separator, answer = line.removeprefix("# ").partition(" = ")
        if not separator:
            continue
        if answer.startswith("first "):
            names[name] = [[address] for address in answer.removeprefix("first ").split(", then ")]
        else:
            names[name] = [ast.literal_eval(answer) if answer.startswith("[") else [answer]]
    return names


NAMES_OF_THE_LIST = ",".join(["localhost", *listed_names()])


@pytest.fixture
def resolver(monkeypatch):
    """The names of the list, and what a test adds; a literal address is read as the system reads it (0x7f000001)."""
    real = socket.getaddrinfo
    names = {**listed_names(), "localhost": [["127.0.0.1", "::1"]]}
    answers: dict[str, Iterator[list[str]]] = {}

    def resolve(host, port, *args, **options):
        if host not in names:
            options["flags"] = socket.AI_NUMERICHOST
            return real(host, port, *args, **options)
        after_the_last = itertools.repeat(names[host][-1])
        addresses = next(answers.setdefault(host, itertools.chain(names[host], after_the_last)))
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return names


@pytest.fixture
def attempts(monkeypatch):
    """Every (address, port) that somebody tries to connect to; none answers."""
    seen: list[tuple[str, int]] = []

    class Intercepted(socket.socket):
        def connect(self, address):
            seen.append(address[:2])
            raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "socket", Intercepted)
    return seen


@pytest.mark.parametrize("link", SSRF_LINKS)
@pytest.mark.parametrize(
    ("allow", "hosts", "scheme"),
    [
        pytest.param("", {"cdn.discordapp.com"}, "http", id="as the settings are"),
        pytest.param(NAMES_OF_THE_LIST, set(), "http", id="with all its names allowed"),
        pytest.param("", set(NAMES_OF_THE_LIST.split(",")), "https", id="with all its names as the provider's"),
    ],
)
def test_no_link_of_the_list_connects_to_a_forbidden_address_or_port(link, allow, hosts, scheme, resolver, attempts):
    with closing(Downloader(allow)) as downloader:
        for _ in range(3):  # a rebinding name changes its answer
            with pytest.raises(DownloadError), downloader.fetch(link.replace("http:", f"{scheme}:"), hosts):
                pass
    assert set(attempts) <= {(PUBLIC, 80), (PUBLIC, 443)}
    if hosts == {"cdn.discordapp.com"}:
        assert attempts == []


def test_the_list_is_whole():
    assert len(SSRF_LINKS) == 48
    assert len(listed_names()) == 13


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.5",
        "100.100.100.200",
        "127.0.0.1",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:93.184.216.34",
        "::ffff:0:7f00:1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_a_forbidden_address_is_not_connected_to(address, resolver, attempts):
    resolver["cdn.test"] = [[PUBLIC, address]]
    guard = AddressGuard()
    target = guard.admit("https://cdn.test/a.png", {"cdn.test"})
    with pytest.raises(LinkForbidden, match=r"https://cdn\.test/a\.png: its host has the forbidden address"):
        guard.connect(target, timeout=1, deadline=time.monotonic() + 1)
    assert attempts == []


@pytest.mark.parametrize("address", [PUBLIC, "172.32.0.1", "100.128.0.1", "2606:4700::6810:1"])
def test_a_public_address_is_connected_to(address, resolver, attempts):
    resolver["cdn.test"] = [[address]]
    guard = AddressGuard()
    with pytest.raises(OSError):
        guard.connect(guard.admit("https://cdn.test/", {"cdn.test"}), timeout=1, deadline=time.monotonic() + 1)
    assert attempts == [(address, 443)]


@given(st.ip_addresses())
def test_no_address_is_permitted_that_python_calls_not_global(address):
    if AddressGuard()._may_connect(address):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4), st.sampled_from(["::", "::ffff:0:0", "64:ff9b::", "::ffff:0:0:0"]))
def test_no_ipv6_form_of_any_ipv4_address_is_permitted(inner, prefix):
    assert not AddressGuard()._may_connect(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + int(inner)))


def test_an_origin_that_the_operator_wrote_is_admitted_with_its_scheme_port_and_private_address(resolver, attempts):
    resolver["proxy"] = [["10.0.0.7"]]
    guard = AddressGuard()
    for url, address in (("http://proxy:8080", "10.0.0.7"), ("http://127.0.0.1:3000/", "127.0.0.1")):
        target = guard.admit(f"{url.rstrip('/')}/mj/image/1", {origin_of(url)})
        with pytest.raises(ConnectionRefusedError):
            guard.connect(target, timeout=1, deadline=time.monotonic() + 1)
        assert attempts.pop()[0] == address


@pytest.mark.parametrize(
    "link", ["http://proxy:8081/", "https://proxy/", "http://x.proxy:8080/", "http://10.0.0.7:8080/"]
)
def test_another_scheme_port_or_host_than_the_operator_wrote_is_not_admitted(link):
    with pytest.raises(LinkForbidden):
        AddressGuard().admit(link, {origin_of("http://proxy:8080")})


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "::ffff:10.0.0.1"]
)
def test_an_origin_that_the_operator_wrote_leads_to_no_metadata(address, resolver, attempts):
    resolver["proxy"] = [[address]]
    guard = AddressGuard()
    with pytest.raises(AddressForbidden):
        guard.connect(
            guard.admit("http://proxy:8080/", {"http://proxy:8080"}), timeout=1, deadline=time.monotonic() + 1
        )
    assert attempts == []


def test_where_dns64_adds_translated_addresses_the_good_one_is_used(resolver, attempts):
    resolver["cdn.test"] = [["64:ff9b::5db8:d822", PUBLIC]]
    guard = AddressGuard()
    with pytest.raises(ConnectionRefusedError):
        guard.connect(guard.admit("https://cdn.test/", {"cdn.test"}), timeout=1, deadline=time.monotonic() + 1)
    assert attempts == [(PUBLIC, 443)]
    resolver["mixed.test"] = [["64:ff9b::5db8:d822", PUBLIC, "10.0.0.5"]]
    with pytest.raises(AddressForbidden, match=r"10\.0\.0\.5|64:ff9b"):
        guard.connect(guard.admit("https://mixed.test/", {"mixed.test"}), timeout=1, deadline=time.monotonic() + 1)


def test_a_translated_address_that_is_allowed_leads_to_no_private_one():
    guard = AddressGuard("64:ff9b::/96")
    assert guard._may_connect(ipaddress.ip_address("64:ff9b::5db8:d822"))
    assert not guard._may_connect(ipaddress.ip_address("64:ff9b::7f00:1"))


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("198.18.0.37", "DARKROOM_DOWNLOAD_ALLOW=198.18.0.0/15"),
        ("64:ff9b::5db8:d822", "DARKROOM_DOWNLOAD_ALLOW=64:ff9b::/96"),
        ("100.100.1.2", "DARKROOM_DOWNLOAD_ALLOW=100.64.0.0/10"),
        ("0.0.0.0", "remove the host from it"),
        ("10.11.12.13", "DARKROOM_DOWNLOAD_ALLOW=10.11.12.13"),
        ("169.254.169.254", "no provider has files there"),
    ],
)
def test_the_remedy_is_the_narrowest_setting(address, remedy, resolver):
    resolver["cdn.test"] = [[address]]
    guard = AddressGuard()
    assert [str(one) for one in guard.refused_addresses("cdn.test")] == [address]
    with pytest.raises(AddressForbidden, match=re.escape(remedy)):
        guard.connect(guard.admit("https://cdn.test/", {"cdn.test"}), timeout=1, deadline=time.monotonic() + 1)


def test_every_address_is_tried_until_one_answers(resolver, attempts):
    resolver["cdn.test"] = [[PUBLIC, "2606:4700::6810:1"]]
    guard = AddressGuard()
    with pytest.raises(ConnectionRefusedError):
        guard.connect(guard.admit("https://cdn.test/", {"cdn.test"}), timeout=1, deadline=time.monotonic() + 1)
    assert attempts == [(PUBLIC, 443), ("2606:4700::6810:1", 443)]


def test_no_address_is_tried_after_the_deadline(resolver, attempts):
    guard = AddressGuard()
    with pytest.raises(TimeoutError):
        guard.connect(guard.admit("https://redir.test/", {"test"}), timeout=1, deadline=time.monotonic())
    assert attempts == []


@pytest.mark.parametrize(
    ("link", "text"),
    [
        ("https://cdn.example/a.png?ex=1&hm=2#x", "https://cdn.example/a.png"),
        ("HTTPS://CDN.Example:443/a.png", "https://cdn.example/a.png"),
        ("https://media.cdn.example?ex=1", "https://media.cdn.example/"),
        ("http://10.1.2.3:9000/a", "http://10.1.2.3:9000/a"),
        ("https://[fd00::7]:9000/a", "https://[fd00::7]:9000/a"),
        ("http://files.internal/a", "http://files.internal/a"),
        ("https://files.internal:8443/a", "https://files.internal:8443/a"),
    ],
)
def test_a_link_of_the_provider_or_of_the_setting_is_admitted(link, text):
    guard = AddressGuard("files.internal, 10.1.0.0/16,fd00::7")
    assert str(guard.admit(link, {"cdn.example"})) == text


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("https://evilcdn.example/a", "not one of the provider's hosts"),
        ("https://cdn.example.evil.test/a", "not one of the provider's hosts"),
        ("https://10.2.0.1/a", "not one of the provider's hosts"),
        ("https://[fd00::8]/a", "not one of the provider's hosts"),
        ("http://cdn.example/a", "only https on port 443"),
        ("https://cdn.example:8443/a", "only https on port 443"),
        ("http://10.1.2.3:0/a", "invalid port 0"),
        ("http://10.1.2.3:65536/a", "invalid port 65536"),
        ("https://cdn.example./a", "not of the form"),
        ("https://cdn..example/a", "not of the form"),
        (f"https://{'a' * 64}.cdn.example/a", "not of the form"),
        ("https://user@cdn.example/a", "not of the form"),
        ("https://cdn.example\\@evil.test/a", "not of the form"),
        ("https://cdn.example:/a", "not of the form"),
        ("https://cdn.example/a\r\nHost: evil", "not of the form"),
        ("https://cdn.example/\ud800", "not of the form"),
        (" https://cdn.example/a", "not of the form"),
        ("https://cdn.exampl\u212a/a", "not of the form"),
        ("", "not of the form"),
    ],
)
def test_every_other_link_is_forbidden_with_its_reason(link, reason):
    guard = AddressGuard("10.1.0.0/16,fd00::7")
    with pytest.raises(LinkForbidden, match=reason):
        guard.admit(link, {"cdn.example", "cdn.examplk"})


@given(st.text())
def test_no_text_raises_anything_but_link_forbidden(text):
    for link in (text, f"https://{text}", f"https://cdn.example{text}", f"https://cdn.example:{text}/"):
        with suppress(LinkForbidden):
            assert AddressGuard("a.test").admit(link, {"cdn.example"}).host.endswith(("cdn.example", "a.test"))


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")))
def test_path_and_query_stay_as_they_are(rest):
    assert AddressGuard().admit(f"https://cdn.example/{rest}", {"cdn.example"}).path == f"/{rest}"


def test_only_what_http_cannot_carry_is_encoded():
    target = AddressGuard().admit("https://cdn.example/a b/é%C3.png?x=ü&", {"cdn.example"})
    assert target.path == "/a%20b/%C3%A9%C3.png?x=%C3%BC&"


@pytest.mark.parametrize(
    "entry",
    [
        *("10.0.0.5/8", "127.1", "0x7f000001", "http://127.0.0.1", "[::1]", "a b", "*.test"),
        *("files.example:0", "files.example:65536", "files.example:http", "fd00::7:", "[fd00::7", "[fd00::7]:x"),
        # nearly everything
        *("0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/2", "2000::/3", "0.0.0.0/0:9000", "[::/0]:9000"),
        # names under which anybody may have a host
        *("com", "uk", "co.uk", "com.cn", "co.uk:443", "github.io", "cloudfront.net", "s3.amazonaws.com", "r2.dev"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(entry):
    with pytest.raises(ConfigurationError, match=r"^DARKROOM_DOWNLOAD_ALLOW: '") as refusal:
        AddressGuard(f"localhost,{entry}")
    assert repr(entry) in str(refusal.value)


@pytest.mark.parametrize(
    ("allow", "links"),
    [
        ("files.example.com:8443", {"https://files.example.com:8443/a", "https://a.files.example.com:8443/a"}),
        (
            "files.example.com",
            {"https://files.example.com:8443/a", "https://a.files.example.com:8443/a", "http://files.example.com/a"},
        ),
        # One word is that machine alone; many of the newer top levels are names of machines as well.
        ("app", {"http://app/a"}),
        ("com:8443", {"https://com:8443/a"}),
        ("10.1.2.3:9000", {"http://10.1.2.3:9000/a"}),
        ("10.1.0.0/16:9000", {"http://10.1.2.3:9000/a"}),
        ("[fd00::7]:9000", {"https://[fd00::7]:9000/a"}),
    ],
)
def test_an_entry_admits_what_it_names_and_nothing_beside_it(allow, links):
    others = {
        "https://files.example.com:8443/a",
        "https://a.files.example.com:8443/a",
        "http://files.example.com/a",
        "https://otherfiles.example.com:8443/a",
        "http://app/a",
        "http://evil.app/a",
        "https://com:8443/a",
        "https://evil.com:8443/a",
        "http://10.1.2.3:9000/a",
        "http://10.1.2.3:6379/a",
        "https://[fd00::7]:9000/a",
        "https://[fd00::7]/a",
    }
    admitted = set()
    for link in others:
        with suppress(LinkForbidden):
            admitted.add(str(AddressGuard(allow).admit(link, set())))
    assert admitted == links


def test_an_address_with_a_port_opens_that_port_alone(resolver, attempts):
    """As a redirect to another service of the same machine."""
    guard = AddressGuard("localhost, 127.0.0.1:9000, [::1]:9000")
    for port, connects in ((9000, True), (6379, False)):
        target = guard.admit(f"http://localhost:{port}/a", set())
        with pytest.raises(OSError if connects else LinkForbidden):
            guard.connect(target, timeout=1, deadline=time.monotonic() + 10)
    assert {port for _, port in attempts} == {9000}


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("169.254.0.0/16", "169.254.169.254"),
        ("100.64.0.0/10", "100.100.100.200"),
        ("fd00::/8", "fd00:ec2::254"),
        ("192.0.0.0/24", "192.0.0.192"),
        ("168.63.129.0/24", "168.63.129.16"),
        ("::ffff:0:0/96", "::ffff:169.254.169.254"),
    ],
)
def test_a_metadata_service_is_opened_by_its_own_address_and_by_no_network(network, address):
    found = ipaddress.ip_address(address)
    assert not AddressGuard(network)._may_connect(found)
    assert AddressGuard(network)._may_connect(found + 256)
    assert AddressGuard(address)._may_connect(found)


def test_a_translated_address_is_opened_by_no_network_unless_what_it_translates_is_good():
    guard = AddressGuard("64:ff9b::/96")
    assert not guard._may_connect(ipaddress.ip_address("64:ff9b::a9fe:a9fe"))
    assert guard._may_connect(ipaddress.ip_address("64:ff9b::5db8:d822"))
