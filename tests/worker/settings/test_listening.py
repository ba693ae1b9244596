"""Where the receiver and the API listen, and what is said if they cannot."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from worker.errors import ConfigurationError
from worker.settings import api_address, listening, receiver_address, url_of


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_without_a_port_the_api_takes_the_first_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [server.getsockname()[1] for server in servers]
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(listening, "_API_PORTS", ports)
        with pytest.raises(ConfigurationError, match=r"all ports from \d+ to \d+ are taken; set API_PORT"):
            api_address({})
        servers[1].close()
        assert api_address({"API_PORT": ""}) == {"API_HOST": "127.0.0.1", "API_PORT": str(ports[1])}


def test_the_first_port_of_the_api_is_beside_the_receivers() -> None:
    assert listening._API_PORTS[0] == 8001


def test_a_port_that_several_processes_may_share_is_taken_too() -> None:
    """As the servers open theirs: a second one would get half of the requests of the first."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(ConfigurationError, match="Address already in use"):
            api_address({"API_PORT": str(server.getsockname()[1])})


@pytest.mark.parametrize(
    ("address", "name", "who"), [(receiver_address, "PORT", "the receiver"), (api_address, "API_PORT", "the API")]
)
def test_a_port_that_is_taken_or_none_is_refused_alike(address, name: str, who: str, taken: int) -> None:
    with pytest.raises(ConfigurationError) as refused:
        address({name: str(taken)})
    assert str(refused.value) == (
        f"{who} cannot listen on {name} {taken} of 127.0.0.1: Address already in use; "
        f"stop the program that uses it or set {name} to another number"
    )
    for none in ("0", "65536", "http", "-1", "\N{ARABIC-INDIC DIGIT EIGHT}0"):
        with pytest.raises(ConfigurationError, match=rf"^{name}: .* is not a port number; set it"):
            address({name: none})


def test_an_address_that_is_not_of_this_machine_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"the API cannot listen on API_PORT 8001 of 192.0.2.1: Cannot assign"):
        api_address({"API_HOST": "192.0.2.1"})


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert url_of("::1", 8001) == "http://[::1]:8001"
    assert url_of("127.0.0.1", "80") == "http://127.0.0.1:80"
