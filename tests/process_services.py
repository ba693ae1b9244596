"""What the steps of this process work with, when a test wants it built anew."""

from functools import partialmethod

import pytest

from worker.ledger.database import Clock
from worker.services import Services, services


def forget() -> None:
    """Close what was built; the next who asks gets what the settings of then make."""
    if services.cache_info().currsize:
        services().close()
    services.cache_clear()


def tell_time(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """The class stays the same one: a module that is imported meanwhile keeps it."""
    monkeypatch.setattr(Services, "__init__", partialmethod(Services.__init__, clock=clock))
