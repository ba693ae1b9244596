"""Private and public addresses, and a connection to the first of several addresses that answers.

Own lists instead of the properties of `ipaddress`, whose answers for shared, multicast and NAT64 addresses changed
between Python versions. From IANA's special-purpose registries; what is globally reachable (such as AS112) is left out.
"""

import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

Address = IPv4Address | IPv6Address

PORTS = {"https": 443, "http": 80}

_PRIVATE_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network; 0.0.0.0 is the machine itself
        "10.0.0.0/8",
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; holds the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; holds Oracle's metadata service
        "192.0.2.0/24",  # this and the next three are not routed, so any use is local
        "198.18.0.0/15",  # benchmarks; resolvers of local proxies answer with it
        "198.51.100.0/24",
        "203.0.113.0/24",
        "192.168.0.0/16",
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_RESERVED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "100.64.0.0/10",  # carrier-grade NAT; holds Alibaba's metadata service
        "168.63.129.16/32",  # Azure's platform service, on a public address
        "192.88.99.0/24",  # 6to4 relays
        "224.0.0.0/4",  # multicast
    )
)
_PRIVATE_V6 = tuple(IPv6Network(text) for text in ("::/127", "100::/64", "2001:db8::/32", "fc00::/7", "fe80::/10"))
_GLOBAL_V6 = IPv6Network("2000::/3")
_RESERVED_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address
        "3fff::/20",
    )
)
_NAT64 = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def read_address(text: str) -> Address:
    """Parse an address from `getaddrinfo`, with or without a zone. Raises ValueError for a name."""
    return ip_address(text.partition("%")[0])


def is_private(address: Address) -> bool:
    """Return whether it is on this machine, this link, in a private network or in a reserved range."""
    address = carried(address) or address
    networks: Sequence[Any] = _PRIVATE_V4 if isinstance(address, IPv4Address) else _PRIVATE_V6
    return any(address in network for network in networks)


def is_public(address: Address) -> bool:
    """Return whether it is the same machine from everywhere; False if it embeds an IPv4 address."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in (*_PRIVATE_V4, *_RESERVED_V4))
    return address in _GLOBAL_V6 and not any(address in network for network in _RESERVED_V6)


def is_translated(address: Address) -> bool:
    """By NAT64 from an IPv4 address."""
    return any(address in network for network in _NAT64)


def carried(address: Address) -> IPv4Address | None:
    """The IPv4 address within a mapped or translated one."""
    if is_translated(address):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped if isinstance(address, IPv6Address) else None


def connect_to_first(answers: Sequence[Any], *, timeout: float, deadline: float) -> socket.socket:
    """Return a TCP connection to the first of these `getaddrinfo` results that accepts one.

    `timeout` (seconds) is for each, `deadline` (of the monotonic clock) for all. Raises OSError if none does.
    """
    failure: OSError = TimeoutError("its time limit was exceeded")
    for family, kind, protocol, _, address in answers:
        patience = min(timeout, deadline - time.monotonic())
        if patience <= 0:
            break
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(patience)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure
