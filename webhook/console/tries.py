"""Limits on login attempts, by name and by address, and on concurrent ones."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

from webhook.console.problems import Refusal
from worker.runtime import locked_cached_property

if TYPE_CHECKING:
    from webhook.guesses import Guesses

#: wrong passwords within these minutes; more per address, because everybody behind one router shares it
MINUTES, BY_NAME, BY_ADDRESS = 5, 10, 60
#: concurrent logins: each occupies a thread of the process while its form arrives, which may never end, and while its
#: password waits to be checked. Fewer per address, so that no single client locks everybody else out
AT_ONCE, AT_ONCE_OF_ADDRESS = 32, 8


class Tries:
    """Counts wrong passwords, in this process alone."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way: Counter[str] = Counter()

    @locked_cached_property
    def _names(self) -> "Guesses":
        return _guesses(BY_NAME)

    @locked_cached_property
    def _addresses(self) -> "Guesses":
        return _guesses(BY_ADDRESS)

    def wait_at(self, address: str) -> int:
        """Return the seconds until this address may try again; 0 if it may now."""
        return self._addresses.wait(_network(address))

    def wait_for(self, name: str) -> int:
        """Return the seconds until this name may be tried again, from any address; 0 if it may now."""
        return self._names.wait(_key(name))

    def count(self, name: str, address: str) -> None:
        """Count a wrong password."""
        self._names.count(_key(name))
        self._addresses.count(_network(address))

    def forget(self, name: str) -> None:
        """Reset a name after a correct password, whatever others tried under it."""
        self._names.forget(_key(name))

    @contextmanager
    def one_more(self, address: str) -> Iterator[None]:
        """Count a login while it runs. Raises Refusal (503) at once above the limit: waiting would occupy a thread."""
        network = _network(address)
        with self._lock:
            if self._under_way.total() >= AT_ONCE or self._under_way[network] >= AT_ONCE_OF_ADDRESS:
                raise Refusal(
                    "too many people are logging in right now: try again", status=503, headers={"Retry-After": "5"}
                )
            self._under_way[network] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= Counter({network: 1})


def _guesses(number: int) -> "Guesses":
    # Imported with the first login: a process without logins saves 2 MB.
    from webhook.guesses import Guesses  # noqa: PLC0415

    return Guesses(number, MINUTES)


def _network(address: str) -> str:
    from webhook.guesses import network_of  # noqa: PLC0415  likewise

    return network_of(address)


def _key(name: str) -> str:
    return name[:100]
