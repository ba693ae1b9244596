"""Who uses this machine needs no token; no page that they open, no proxy and no neighbour passes for them."""

from typing import Any

import pytest

from tests.webhook.api.access.conftest import HERE, Door

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

HOSTS = {
    "rebinding": "evil.example:8001",
    "rebinding without a port": "evil.example",
    "a name that only begins like ours": "127.0.0.1.evil.example:8001",
    "another port": "127.0.0.1:9999",
    "another port of the other name": "localhost:80",
    "another port of IPv6": "[::1]:9999",
    "no port": "127.0.0.1",
    "another address of loopback": "127.0.0.2:8001",
    "with the dot of the root": "localhost.:8001",
    "with a user": "127.0.0.1:8001@evil.example",
    "the whole of IPv6": "[::]:8001",
    "twice": "127.0.0.1:8001,127.0.0.1:8001",
    "twice, and one is foreign": "127.0.0.1:8001,evil.example",
    "none": "",
}
PROXIES = {
    "Forwarded": "for=203.0.113.7",
    "X-Forwarded-For": "127.0.0.1",
    "X-Forwarded-Host": "127.0.0.1:8001",
    "X-Forwarded-Proto": "http",
    "X-Forwarded": "for=127.0.0.1",
    "Via": "1.1 proxy",
    "X-Real-IP": "127.0.0.1",
}
PAGES = {
    "a foreign origin": {"Origin": "https://evil.example"},
    "an origin without a name, such as a sandboxed frame or a file": {"Origin": "null"},
    "another program on this machine": {"Origin": "http://127.0.0.1:3000"},
    "our own host by another name": {"Origin": "http://localhost:8001"},
    "our own host with another scheme": {"Origin": "https://127.0.0.1:8001"},
    "an origin twice": {"Origin": f"{HERE},https://evil.example"},
    "an empty origin": {"Origin": ""},
    "another site, as the browser says": {"Sec-Fetch-Site": "cross-site"},
    "another host of the same site": {"Sec-Fetch-Site": "same-site"},
    "two words of the browser": {"Sec-Fetch-Site": "none,cross-site"},
}
FORMS = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=b", "", "text/html")


def refused(door: Door, **facts: Any) -> None:
    """Whatever it is that writes: nothing is written, not even to the log of actions."""
    for path in ("/v1/things", "/v1/things/gen_1/stop"):
        response = door.post(path, **facts)
        assert (response.status_code, response.json["code"]) == (401, "token_missing"), path
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="darkroom"'
        assert "a token is required because" in response.json["detail"]
        assert "[redacted]" not in response.json["detail"]
    assert door.rows() == {}


@pytest.mark.parametrize("host", HOSTS.values(), ids=HOSTS)
def test_a_foreign_host_is_refused(door: Door, host: str) -> None:
    refused(door, headers={"Host": host})
    assert door.get(headers={"Host": host}).status_code == 401


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxied_request_is_refused(door: Door, name: str) -> None:
    refused(door, headers={name: PROXIES[name]})
    assert door.get(headers={name: PROXIES[name]}).status_code == 401


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1"])
def test_a_proxy_that_says_nothing_of_itself_is_known_by_its_version_of_http(door: Door, version: str) -> None:
    """nginx, as it is set up by default: our own Host, no header of a proxy."""
    refused(door, environ_overrides={"SERVER_PROTOCOL": version})


@pytest.mark.parametrize("headers", PAGES.values(), ids=PAGES)
def test_a_page_of_others_is_refused(door: Door, headers: dict[str, str]) -> None:
    refused(door, headers=headers)


@pytest.mark.parametrize("content_type", FORMS)
def test_a_form_is_refused_even_where_nothing_says_who_sent_it(door: Door, content_type: str) -> None:
    for path in ("/v1/things", "/v1/things/gen_1/stop"):
        if content_type or path == "/v1/things":
            response = door.post(path, data=b'{"prompt": "a fox"}', content_type=content_type)
            assert (response.status_code, response.json["code"]) == (415, "unsupported_media_type"), path
    assert door.rows() == {}


@pytest.mark.parametrize("address", ["192.168.1.7", "203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1", ""])
def test_a_neighbour_is_refused(door: Door, address: str) -> None:
    refused(door, environ_overrides={"REMOTE_ADDR": address})


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.2"])
def test_who_listens_to_others_gets_no_request_without_a_token(door: Door, address: str) -> None:
    """The server's own address decides, not a header; even this machine needs a token then."""
    refused(door, environ_overrides={"SERVER_NAME": address})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "localhost:8001"},
        {"Host": "LOCALHOST:8001"},
        {"Host": "[::1]:8001"},
        {"Origin": HERE},
        {"Host": "[::1]:8001", "Origin": "http://[::1]:8001"},
        {"Sec-Fetch-Site": "same-origin", "Origin": HERE},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_who_uses_this_machine_needs_no_token(door: Door, headers: dict[str, str]) -> None:
    response = door.post(headers=headers)
    assert response.status_code == 201
    assert door.rows()["generations"] == 1
    assert door.get(headers=headers).json == {"id": "gen_1", "caller": "local", "is_test": False}


@pytest.mark.parametrize("address", ["::1", "::ffff:127.0.0.1", "127.0.0.5"])
def test_loopback_has_more_than_one_address(door: Door, address: str) -> None:
    here = {"SERVER_NAME": "::1", "REMOTE_ADDR": address}
    assert door.post(headers={"Host": "[::1]:8001"}, environ_overrides=here).status_code == 201


def test_a_page_may_look_but_no_browser_shows_it_anything(door: Door) -> None:
    """A read changes nothing, and without CORS headers its page gets no answer."""
    response = door.get(headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"})
    assert response.status_code == 200
    assert not [name for name in response.headers.keys() if name.lower().startswith("access-control")]  # noqa: SIM118


@pytest.mark.parametrize("path", ["/v1/things", "/v1/things/gen_1/stop", "/v1/things/gen_1"])
def test_a_preflight_is_refused(door: Door, path: str) -> None:
    asked = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    response = door.client.options(path, base_url=HERE, headers=asked)
    assert response.status_code == 405
    assert not [name for name in response.headers.keys() if name.lower().startswith("access-control")]  # noqa: SIM118
    assert door.rows() == {}
