"""The ledger's time on PostgreSQL is the server's, whatever the machine's own clock says; and costs no round trip."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from tests.clock import FakeClock
from tests.machines import machine, set_wall_clock
from tests.worker.ledger.steady import Steady
from worker.ledger import Ledger
from worker.ledger.database import server_clock as module
from worker.ledger.database import system_clock
from worker.ledger.database.server_clock import EVERY, ServerClock

SECOND, YEAR = timedelta(seconds=1), timedelta(days=365)
WRONG = (timedelta(minutes=10), timedelta(minutes=-10), YEAR)


def time_at(ledger: Ledger) -> datetime:
    with ledger.database.read() as connection:
        told: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return told


@pytest.mark.parametrize("ahead", WRONG)
def test_the_first_time_that_is_asked_for_is_the_servers(
    postgresql_url: str, ahead: timedelta, monkeypatch: pytest.MonkeyPatch
):
    # On a busy machine, a server may need longer than anybody is to wait.
    monkeypatch.setattr("worker.ledger.database.server_clock._PATIENCE", 60 * SECOND)
    ledger = machine(postgresql_url, ahead)
    now = ledger.database.clock()
    assert now.tzinfo is UTC
    assert abs(now - time_at(ledger)) < 20 * SECOND
    assert abs(ledger.database.local_error - ahead) < 20 * SECOND
    ledger.close()


def test_a_step_of_the_machines_own_clock_changes_nothing(postgresql_url: str):
    ledger = machine(postgresql_url, timedelta())
    before = ledger.database.clock()
    for ahead in (*WRONG, -YEAR, timedelta()):
        set_wall_clock(ledger, ahead)
        now = ledger.database.clock()
        assert before <= now < before + 60 * SECOND
        assert abs(ledger.database.local_error - ahead) < 20 * SECOND
    ledger.close()


def test_the_server_is_asked_once_a_minute_however_much_is_done(postgresql_url: str):
    ledger, steady = Ledger(postgresql_url), Steady()
    clock = ledger.database.clock
    assert isinstance(clock, ServerClock)
    clock.steady = steady
    ledger.maintenance.ping()
    asked: list[datetime] = []
    measure = clock.measure

    def counted(ask: Callable[[], datetime]) -> None:
        asked.append(clock())
        measure(ask)

    clock.measure = counted  # type: ignore[method-assign]
    for minutes in (0, 1, 2):
        for number in range(20):
            ledger.maintenance.beat("w", number)
            clock()
        assert len(asked) == minutes
        steady.advance(EVERY)
    ledger.close()


def test_a_file_has_the_clock_of_its_machine(sqlite_url: str):
    ledger = Ledger(sqlite_url)
    assert ledger.database.clock is system_clock
    assert ledger.database.local_error == timedelta()
    ledger.close()


def test_a_clock_that_is_given_is_used_as_it_is(postgresql_url: str, clock: FakeClock):
    ledger = Ledger(postgresql_url, clock)
    ledger.maintenance.beat("w", 1)
    assert ledger.maintenance.heartbeats()[0].seen_at == clock.now
    assert ledger.database.local_error == timedelta()
    ledger.close()


def test_while_the_server_is_away_a_machine_has_its_own_time(monkeypatch: pytest.MonkeyPatch):
    """And waits for it once, and not for long: the server here takes connections and never answers."""
    monkeypatch.setattr(module, "_PATIENCE", timedelta(seconds=0.2))
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        ledger = machine(f"postgresql://somebody@127.0.0.1:{frozen.getsockname()[1]}/ledger", YEAR)
        clock = ledger.database.clock
        assert isinstance(clock, ServerClock)
        waits: list[float] = []
        wait = clock._answered.wait

        def counted(seconds: float) -> bool:
            waits.append(seconds)
            return wait(seconds)

        monkeypatch.setattr(clock._answered, "wait", counted)
        for _ in range(100):
            assert abs(clock() - system_clock() - YEAR) < 20 * SECOND
        assert (len(waits), sum(waits)) == (100, pytest.approx(0.2, abs=0.05))
        ledger.close()


def test_a_server_that_refuses_is_asked_again_after_a_while():
    server, steady = FakeClock(), Steady()
    tries: list[int] = []

    def connect() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionRefusedError
        clock.measure(server)

    clock = ServerClock(connect, wall=lambda: server() + YEAR, steady=steady)
    for _ in range(5):
        assert clock() == server() + YEAR
    assert len(tries) == 1
    assert clock.local_error == timedelta()
    for _ in range(2):
        steady.advance(timedelta(seconds=10))
        clock()
    assert clock() == server()
    assert clock.local_error == YEAR


def test_a_new_server_with_another_clock_is_believed():
    server, steady = FakeClock(), Steady()
    clock = ServerClock(lambda: clock.measure(server), wall=server, steady=steady)
    assert clock() == server()
    server.advance(hours=-1)
    assert not clock.is_due
    clock.expect_another_server()
    assert clock.is_due
    clock.measure(server)
    assert clock() == server()


def test_a_question_that_fails_is_asked_again_at_once():
    server, steady = FakeClock(), Steady()
    clock = ServerClock(lambda: None, wall=server, steady=steady)

    def broken() -> datetime:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        clock.measure(broken)
    assert clock.is_due


TRAVELS = st.lists(
    st.tuples(st.floats(0, 3), st.floats(0, 3), st.booleans()), min_size=3, max_size=20
)  # seconds there and back, and whether the machine slept meanwhile


@given(travels=TRAVELS)
def test_no_accident_of_the_network_sets_the_time_wrong(travels: list[tuple[float, float, bool]]):
    """It is never further off than the quickest answer took, and never moves by more than it was off."""
    server, steady = FakeClock(), Steady()
    clock = ServerClock(lambda: None, wall=lambda: server() + YEAR, steady=steady)
    pending = iter(travels)
    quickest = 1e9

    def ask() -> datetime:
        nonlocal quickest
        there, back, slept = next(pending)
        back += 600 * slept
        server.advance(there)
        told = server()
        server.advance(back)
        steady.advance(timedelta(seconds=there) + timedelta(seconds=back))
        quickest = min(quickest, there + back)
        return told

    clock.measure(ask)
    for _ in travels[3:]:
        before = clock() - server()
        clock.measure(ask)
        after = clock() - server()
        assert abs(after) <= abs(before) + timedelta(microseconds=10)
    assert abs((clock() - server()).total_seconds()) <= quickest + 0.00001
