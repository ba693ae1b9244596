"""The guard of `conftest.py`: no test reaches another machine, and none does so unnoticed."""

import socket

import pytest

Failed = pytest.fail.Exception


@pytest.mark.parametrize(
    ("family", "host"),
    [
        (socket.AF_INET, "192.0.2.1"),
        (socket.AF_INET, "169.254.169.254"),
        (socket.AF_INET, "0.0.0.0"),
        (socket.AF_INET, "darkroom.example"),
        (socket.AF_INET6, "2001:db8::1"),
        (socket.AF_INET6, "::ffff:192.0.2.1"),
    ],
)
@pytest.mark.parametrize("verb", ["connect", "connect_ex"])
def test_another_machine_is_out_of_reach(family: socket.AddressFamily, host: str, verb: str):
    with (
        socket.socket(family) as sock,
        pytest.raises(Failed, match=r"tried to reach .* port 80, but tests are offline"),
    ):
        getattr(sock, verb)((host, 80))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
def test_this_machine_is_in_reach(host: str):
    with socket.create_server(("0.0.0.0", 0)) as server, socket.socket() as sock:
        sock.settimeout(5)
        sock.connect((host, server.getsockname()[1]))


def test_unix_sockets_are_in_reach():
    left, right = socket.socketpair()
    with left, right:
        left.sendall(b"!")
        assert right.recv(1) == b"!"


@pytest.mark.parametrize("host", ["example.com", "cdn.discordapp.com", "localhost.example"])
def test_no_name_is_resolved(host: str):
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo(host, 443)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", b"127.0.0.1", None])
def test_names_of_this_machine_are(host: str | bytes | None):
    assert socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)
