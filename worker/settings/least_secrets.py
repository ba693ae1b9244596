"""The environment of the public receiver, with only the secrets that it needs."""

from collections.abc import Mapping

from worker.settings.settings import secret_names

#: the secret settings that the receiver uses; the ledger's and the broker's addresses contain one, too
_NEEDED = {"DARKROOM_SIGNING_KEYS"}
#: with a password in them, sometimes
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}


def receiver_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the keys of providers, bucket and subscribers, and their `NAME_FILE`."""
    return {name: value for name, value in env.items() if not _is_needless(name)}


def _is_needless(name: str) -> bool:
    upper = name.upper()  # as the settings read them
    setting = upper.removesuffix("_FILE")
    return upper.startswith("AWS_") or upper in _PROXIES or (setting in secret_names() and setting not in _NEEDED)
