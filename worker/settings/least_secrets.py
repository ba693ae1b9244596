"""The environment of a process that listens to strangers: with no secret that it does not need."""

from collections.abc import Mapping

from worker.settings.settings import secret_names

#: of the secrets among the settings, what the receiver works with; in the ledger's and the broker's address is one, too
_NEEDED = {"DARKROOM_SIGNING_KEYS"}
#: with a password in them, sometimes
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}


def receiver_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Without providers' keys, the bucket's, the subscribers' and where they are read from (`NAME_FILE`)."""
    return {name: value for name, value in env.items() if not _is_needless(name)}


def _is_needless(name: str) -> bool:
    upper = name.upper()  # as the settings read them
    setting = upper.removesuffix("_FILE")
    return upper.startswith("AWS_") or upper in _PROXIES or (setting in secret_names() and setting not in _NEEDED)
