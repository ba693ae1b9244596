"""How often somebody may try to log in, by name and by address."""

from typing import TYPE_CHECKING

from worker.runtime import locked_cached_property

if TYPE_CHECKING:
    from webhook.guesses import Guesses

#: wrong passwords within the time; of an address more, since all behind one router have the same
MINUTES, BY_NAME, BY_ADDRESS = 5, 10, 60


class Tries:
    """Counts in this process alone, and only what was wrong."""

    @locked_cached_property
    def _names(self) -> "Guesses":
        return _guesses(BY_NAME)

    @locked_cached_property
    def _addresses(self) -> "Guesses":
        return _guesses(BY_ADDRESS)

    def wait_at(self, address: str) -> int:
        """Return the seconds until somebody there may try again; 0 if they may now."""
        return self._addresses.wait(_network(address))

    def wait_for(self, name: str) -> int:
        """Return the seconds until this name may be tried again, from wherever; 0 if it may now."""
        return self._names.wait(_key(name))

    def count(self, name: str, address: str) -> None:
        """It was wrong."""
        self._names.count(_key(name))
        self._addresses.count(_network(address))

    def forget(self, name: str) -> None:
        """It was right: what others tried under this name is no longer held against it."""
        self._names.forget(_key(name))


def _guesses(number: int) -> "Guesses":
    # With the first login: whoever needs none is spared 2 MB.
    from webhook.guesses import Guesses  # noqa: PLC0415

    return Guesses(number, MINUTES)


def _network(address: str) -> str:
    from webhook.guesses import network_of  # noqa: PLC0415  likewise

    return network_of(address)


def _key(name: str) -> str:
    return name[:100]
