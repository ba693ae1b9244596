"""Links with which anyone can decide an approval, once. They are secrets: never stored, and redacted in logs."""

from collections.abc import Callable
from functools import partial

from worker.correlation import Signer
from worker.errors import ConfigurationError
from worker.settings import Settings

#: where the private process listens unless API_PORT says otherwise
_PORT = 8001
#: addresses that mean every address of this machine
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  nothing is bound here


def approval_links(settings: Settings) -> Callable[[str], str]:
    """Return a function from an approval's id to its link; without CONSOLE_URL, links work only on this machine.

    Raises ConfigurationError without keys to sign them.
    """
    if settings.darkroom_signing_keys is None:
        raise ConfigurationError(
            "DARKROOM_SIGNING_KEYS is not set: it signs links to approvals; set it to `k1:` and at least 32 random "
            "characters"
        )
    signer = Signer(settings.darkroom_signing_keys.get_secret_value())
    return partial(signer.approval_url, settings.console_url or _of_this_machine(settings))


def _of_this_machine(settings: Settings) -> str:
    host = _EVERYWHERE.get(settings.api_host, settings.api_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port or _PORT}"
