"""The environments of the listening processes, each with only the secrets that it needs."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.errors import ConfigurationError
from worker.secrets import DEFAULT_ACCOUNT, read_keys, read_setting_file
from worker.settings.settings import account_key_names, secret_names

#: the secret setting that both use, for callbacks and approval links; the addresses of the ledger and the broker also
#: contain secrets
_NEEDED = {"DARKROOM_SIGNING_KEYS"}
#: may contain a password
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
#: stands in for a secret that must be set but that the process does not use
_WITHHELD = "withheld-from-this-process"
#: signs events for addresses that submissions name; without it, such addresses are refused
_NOTIFY_SECRET = "DARKROOM_NOTIFY_SECRET"  # noqa: S105  only its name


def receiver_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the keys of providers, bucket and subscribers, and their `NAME_FILE`."""
    return {name: value for name, value in env.items() if not _is_needless(name)}


def api_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the keys of providers and subscribers, and their `NAME_FILE`.

    It keeps the names of the accounts, and the fact that there is a secret for signing events, so that the API accepts
    and refuses the same requests as the command line.
    """
    upper = {name.upper(): value for name, value in env.items()}
    kept = {name: value for name, value in env.items() if _setting(name) not in secret_names() - _NEEDED}
    return {**kept, **dict(_withheld(upper))}


def _withheld(env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if env.get(_NOTIFY_SECRET) or env.get(f"{_NOTIFY_SECRET}_FILE"):
        yield _NOTIFY_SECRET, f"whsec_{b64encode(_WITHHELD.encode()).decode()}"
    for name in account_key_names():
        try:
            keys = env.get(name) or _text_of(env, f"{name}_FILE")
            accounts = read_keys(keys) if keys else {}
        except (ConfigurationError, ValueError):
            # Keep it, so that the settings refuse it.
            yield from ((given, env[given]) for given in (name, f"{name}_FILE") if given in env)
            continue
        if accounts.keys() == {DEFAULT_ACCOUNT}:
            yield name, _WITHHELD
        elif accounts:
            # A different key for each, or the settings would refuse them.
            yield name, ",".join(f"{account}:{_WITHHELD}-{account}" for account in accounts)


def _text_of(env: Mapping[str, str], variable: str) -> str:
    return read_setting_file(variable, Path(path)).strip() if (path := env.get(variable)) else ""


def _is_needless(name: str) -> bool:
    upper = name.upper()
    setting = _setting(name)
    return upper.startswith("AWS_") or upper in _PROXIES or (setting in secret_names() and setting not in _NEEDED)


def _setting(name: str) -> str:
    return name.upper().removesuffix("_FILE")  # as the settings read them
