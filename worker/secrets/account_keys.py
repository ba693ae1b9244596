"""A provider's keys: a single one, or one for each account, such as `studio:KEY1,shop:KEY2`."""

import hashlib
import re
from collections.abc import Mapping

#: the account of a key without a name
DEFAULT_ACCOUNT = "default"
#: the account of each provider to which test generations go: the sandbox. No key can have this name (`_NAMED`), so it
#: is never one of the accounts that cost money
SANDBOX_ACCOUNT = "_sandbox"
#: any key works there
SANDBOX_KEY = "sandbox"

_NAMED = re.compile(r"([a-z0-9][a-z0-9-]*):(.*)", re.DOTALL)


def read_keys(setting: str) -> Mapping[str, str]:
    """Return the keys by account name. Raises ValueError, without a key in its text."""
    pieces = [piece.strip() for piece in setting.split(",")]
    named = [_NAMED.fullmatch(piece) for piece in pieces]
    if len(pieces) == 1 and named[0] is None:
        if not pieces[0]:
            raise ValueError("it contains no key")
        return {DEFAULT_ACCOUNT: pieces[0]}
    keys: dict[str, str] = {}
    for number, (piece, match) in enumerate(zip(pieces, named, strict=True), start=1):
        place = f"key {number} of {len(pieces)}"
        if not piece:
            raise ValueError(f"{place} is empty: remove the extra comma")
        if match is None:
            raise ValueError(
                f"{place} has no name: write several as `studio:KEY1,shop:KEY2`, with names of lowercase letters, "
                "digits and -"
            )
        name, key = match[1], match[2].strip()
        if not key:
            raise ValueError(f"{place} is empty: there is nothing after its name {name}")
        if name in keys:
            raise ValueError(f"two accounts are named {name}: names must be unique")
        if key in keys.values():
            raise ValueError(f"{name} has the key of another account: each account needs its own key")
        keys[name] = key
    return keys


def read_list(setting: str) -> tuple[str, ...]:
    """Return keys without names, separated by commas; raises ValueError for an empty one."""
    keys = tuple(key.strip() for key in setting.split(","))
    if not all(keys):
        raise ValueError("one of its keys is empty: remove the extra comma")
    return keys


def key_mark(key: str | None, address: str | None) -> str:
    """Return a mark that distinguishes keys and addresses, too short to reveal the key."""
    return hashlib.sha256(f"{address or ''} {key or ''}".encode("utf-8", "surrogatepass")).hexdigest()[:8]


def title_of(provider: str, account: str) -> str:
    """Return the account's name for people; the account is omitted if there is only one."""
    if account == SANDBOX_ACCOUNT:
        return f"the sandbox of {provider}"
    return provider if account == DEFAULT_ACCOUNT else f"{provider}, account {account}"
