"""The sandbox providers: their wire formats, real images and videos, fault knobs and a bill.

It imports nothing from Darkroom, so that it checks the adapters independently.

`darkroom sandbox` serves it; `running()` serves it inside a test.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from webhook.sandbox.app import create_app
from webhook.sandbox.engine import Engine, Options
from webhook.sandbox.server import Server

__all__ = ["Options", "Sandbox", "running"]


class Sandbox:
    """A sandbox that is being served at `url`."""

    def __init__(self, options: Options, host: str, port: int) -> None:
        """Raises OSError when the port is taken."""
        self._engine = Engine(options)
        try:
            self._server = Server(host, port, create_app(self._engine))
        except OSError:
            self._engine.stop()
            raise
        self._server.start()
        #: what it listens on
        self.address, self.port = self._server.server_name, self._server.server_port
        bound = ip_address(self.address)
        self.is_local = bound.is_loopback
        self.url = f"http://{'127.0.0.1' if bound.is_unspecified else host}:{self.port}"

    def bill(self) -> dict[str, Any]:
        """Return `{"charges": N, "lines": [...]}`; `charges` leaves out refunded lines, each line names its key."""
        return self._engine.journal.bill()

    def log(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return everything that happened, oldest first; `kind` is submit, callback, query or download."""
        return self._engine.journal.log(kind)

    def set_faults(self, faults: dict[str, float]) -> None:
        """Replace the knobs; raises `webhook.sandbox.faults.FaultsInvalid`."""
        self._engine.faults.replace(faults)

    def set_keys(self, troubles: dict[str, str]) -> None:
        """Answer these keys with `invalid`, `used-up` or `too_many`, and all others as usual."""
        self._engine.keys.replace(troubles)

    def served(self, link: str) -> list[dict[str, Any]]:
        """Return the log entries of downloads of this link or path, with any signature."""
        # Some of the vendors' paths begin with two slashes, which the server takes for one.
        path = "/" + urlsplit(link).path.lstrip("/")
        return [entry for entry in self.log("download") if entry["path"] == path]

    def stop(self) -> None:
        self._engine.stop()
        self._server.stop()


@contextmanager
def running(*, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[Sandbox]:
    """Serve a sandbox in background threads; port 0 picks a free one. `options` are the fields of `Options`."""
    sandbox = Sandbox(Options(**options), host, port)
    try:
        yield sandbox
    finally:
        sandbox.stop()
