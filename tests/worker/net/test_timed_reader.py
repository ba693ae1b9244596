"""No answer lasts longer than it was given, and none takes from the time of the next."""

import pytest

from tests.worker.providers.loopback import Behaviour, Loopback, drip, drip_header, kept_open
from worker.net.timed_reader import TimedConnection, TimedResponse


def unended_status(server: Loopback, connection) -> None:
    server.read_request(connection)
    while not server.stopping.wait(0.02):
        connection.sendall(b"H")


def many_interim_answers(server: Loopback, connection) -> None:
    server.read_request(connection)
    while not server.stopping.wait(0.02):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def answer(server: Loopback, timeout: float, kind: type[TimedConnection] = TimedConnection) -> bytes:
    connection = kind("127.0.0.1", server.port, timeout=timeout)
    try:
        connection.request("GET", "/")
        with connection.getresponse() as response:
            return response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("behaviour", [drip_header, unended_status, many_interim_answers, drip])
def test_whatever_drips_is_given_up_in_time(behaviour: Behaviour):
    with Loopback(behaviour) as server, pytest.raises(TimeoutError, match="the time limit was exceeded"):
        answer(server, timeout=0.2)


def test_what_comes_at_the_rate_that_is_asked_for_may_take_long():
    class Patient(TimedConnection):
        rate = 100

    def steady(server: Loopback, connection) -> None:
        server.read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(10):
            server.stopping.wait(0.05)
            connection.sendall(b"x" * 100)

    with Loopback(steady) as server:
        assert len(answer(server, 0.4, Patient)) == 1000


def test_a_kept_connection_gives_each_request_its_whole_time():
    with Loopback(kept_open({})) as server:
        connection = TimedConnection("127.0.0.1", server.port, timeout=7)
        connection.request("GET", "/")
        with connection.getresponse() as response:
            assert isinstance(response, TimedResponse)
            response.read()
        assert connection.sock is not None
        assert connection.sock.gettimeout() == 7
        connection.close()
