"""Machines whose own clocks are wrong, on one PostgreSQL server that has the right one."""

from datetime import datetime, timedelta

from worker.ledger import Ledger
from worker.ledger.database import system_clock
from worker.ledger.database.server_clock import ServerClock


def machine(url: str, ahead: timedelta) -> Ledger:
    """A ledger as a machine opens it whose wall clock is ahead by so much (negative: behind)."""
    ledger = Ledger(url)
    set_wall_clock(ledger, ahead)
    return ledger


def set_wall_clock(ledger: Ledger, ahead: timedelta) -> None:
    def wall() -> datetime:
        return system_clock() + ahead

    assert isinstance(ledger.database.clock, ServerClock)
    ledger.database.clock.wall = wall
