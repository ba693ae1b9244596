"""The environments of the processes that listen, with only the secrets that each needs."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.errors import ConfigurationError
from worker.secrets import DEFAULT_ACCOUNT, read_keys, read_setting_file
from worker.settings.settings import account_key_names, secret_names

#: the secret setting that both use, for callbacks and for links to approvals; the ledger's and the broker's addresses
#: contain one, too
_NEEDED = {"DARKROOM_SIGNING_KEYS"}
#: with a password in them, sometimes
_PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
#: in the place of a secret that must be set, and that the process does not use
_WITHHELD = "withheld-from-this-process"
#: signs what is sent to addresses of submissions, which are refused without it
_NOTIFY_SECRET = "DARKROOM_NOTIFY_SECRET"  # noqa: S105  its name


def receiver_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the keys of providers, bucket and subscribers, and their `NAME_FILE`."""
    return {name: value for name, value in env.items() if not _is_needless(name)}


def api_environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the keys of providers and subscribers, and their `NAME_FILE`.

    Of the accounts it has the names, and of the secret that signs events that there is one, so that it accepts and
    refuses what the command line does.
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
            # For the settings to refuse it.
            yield from ((given, env[given]) for given in (name, f"{name}_FILE") if given in env)
            continue
        if accounts.keys() == {DEFAULT_ACCOUNT}:
            yield name, _WITHHELD
        elif accounts:
            # Each with a key of its own, or the settings would refuse it.
            yield name, ",".join(f"{account}:{_WITHHELD}-{account}" for account in accounts)


def _text_of(env: Mapping[str, str], variable: str) -> str:
    return read_setting_file(variable, Path(path)).strip() if (path := env.get(variable)) else ""


def _is_needless(name: str) -> bool:
    upper = name.upper()
    setting = _setting(name)
    return upper.startswith("AWS_") or upper in _PROXIES or (setting in secret_names() and setting not in _NEEDED)


def _setting(name: str) -> str:
    return name.upper().removesuffix("_FILE")  # as the settings read them
