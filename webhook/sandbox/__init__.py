"""The pretend providers: their wire formats, real pictures and videos, fault knobs and a bill.

It imports nothing of Darkroom, so that it is an independent check of the adapters.

`darkroom sandbox` serves it; `running()` serves it inside a test.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from webhook.sandbox.app import create_app
from webhook.sandbox.server import Server
from webhook.sandbox.studio import Options, Studio

__all__ = ["Options", "Sandbox", "running"]


class Sandbox:
    """A sandbox that is being served at `url`."""

    def __init__(self, options: Options, host: str, port: int) -> None:
        """Raises OSError when the port is taken."""
        self._studio = Studio(options)
        try:
            self._server = Server(host, port, create_app(self._studio))
        except OSError:
            self._studio.stop()
            raise
        self._server.start()
        #: what it listens on
        self.address, self.port = self._server.server_name, self._server.server_port
        bound = ip_address(self.address)
        self.is_local = bound.is_loopback
        self.url = f"http://{'127.0.0.1' if bound.is_unspecified else host}:{self.port}"

    def bill(self) -> dict[str, Any]:
        """`{"charges": N, "lines": [...]}`; refunded lines are not counted in `charges`, each line names its key."""
        return self._studio.journal.bill()

    def log(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Everything that happened, oldest first; `kind` is submit, callback, query or download."""
        return self._studio.journal.log(kind)

    def set_faults(self, faults: dict[str, float]) -> None:
        """Replace the knobs; raises `webhook.sandbox.faults.FaultsInvalid`."""
        self._studio.faults.replace(faults)

    def set_keys(self, troubles: dict[str, str]) -> None:
        """Let these keys be answered with `invalid`, `used-up` or `too_many`, and all others as usual."""
        self._studio.keys.replace(troubles)

    def served(self, link: str) -> list[dict[str, Any]]:
        """The log entries of the downloads of this link or path, whatever its signature was."""
        # Some of the vendors' paths begin with two slashes, which the server takes for one.
        path = "/" + urlsplit(link).path.lstrip("/")
        return [entry for entry in self.log("download") if entry["path"] == path]

    def stop(self) -> None:
        self._studio.stop()
        self._server.stop()


@contextmanager
def running(*, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[Sandbox]:
    """Serve a sandbox in background threads; port 0 takes a free one. The other options are those of `Options`."""
    sandbox = Sandbox(Options(**options), host, port)
    try:
        yield sandbox
    finally:
        sandbox.stop()
