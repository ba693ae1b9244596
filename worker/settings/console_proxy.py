"""The proxy that may say who somebody is: the name of its header, and from where it connects."""

import ipaddress
import re
from ipaddress import IPv4Network, IPv6Network

Networks = tuple[IPv4Network | IPv6Network, ...]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)


def read_header(name: str) -> str:
    """Return the name of the header. Raises ValueError for one that a visitor could send, too.

    The server hands `X-User` and `X_User` to us under one name, and many proxies replace only the former.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a name of 1 to 64 letters and digits: with a hyphen it would look like the same "
            "header with an underscore, which proxies forward from anybody; have yours send DarkroomUser, for example"
        )
    return name


def read_networks(text: str) -> Networks:
    """Read networks and addresses, separated by commas. Raises ValueError with the invalid one."""
    return tuple(_network(part.strip()) for part in text.split(",") if part.strip())


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not an address or a network: write the one from which your proxy connects, such as 10.0.0.7 "
            "or 172.18.0.0/16"
        ) from None
    if network.prefixlen == 0:
        raise ValueError(f"{text!r} contains every address: write only the one from which your proxy connects")
    return network
