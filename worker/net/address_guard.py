"""Which links and addresses downloads may reach, checked at the moment of connecting (SSRF).

Anybody who can forge a callback controls the link, and the owner of the link's host name controls its address at every
resolution. So a name is resolved once, every resulting address must pass, and the connection goes to one of them.
"""

import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any
from urllib.parse import quote, urlsplit

from worker.errors import AddressForbidden, ConfigurationError, LinkForbidden
from worker.net.addresses import PORTS, carried, connect_to_first, is_public, is_translated
from worker.net.download_allow import LABEL, Allowed

_SETTING = "DARKROOM_DOWNLOAD_ALLOW"

#: addresses that resolvers of some networks return for every name, instead of the real one
_ANSWERS_OF_NETWORKS = (
    ("a proxy with fake addresses (such as Clash fake-ip)", IPv4Network("198.18.0.0/15")),
    ("an overlay or carrier network (Tailscale, WARP, CGNAT)", IPv4Network("100.64.0.0/10")),
    ("DNS64 (an IPv6-only network)", IPv6Network("64:ff9b::/96")),
)

#: forbidden unless a setting names it: metadata services with a cloud machine's secrets, and link-local neighbours
_METADATA: tuple[IPv4Network | IPv6Network, ...] = (
    *(IPv4Network(text) for text in ("169.254.0.0/16", "168.63.129.16/32", "192.0.0.0/24", "100.100.100.200/32")),
    *(IPv6Network(text) for text in ("fe80::/10", "fd00:ec2::/32", "::ffff:0:0/96")),
)

_LINK = re.compile(
    rf"(?P<scheme>https?)://(?P<host>{LABEL}(?:\.{LABEL})*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?P<path>[/?][^#]*)?(?:#.*)?",
    re.ASCII | re.IGNORECASE,
)
_PRINTABLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A link that may be followed. Its text omits the query, which is often a signature."""

    scheme: str
    host: str
    port: int
    #: path and query as they go over the wire
    path: str
    #: whether the operator configured its origin, which may be in a private network
    is_named: bool = False

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path.partition('?')[0]}"


class AddressGuard:
    """Checks links and addresses.

    `allow` (DARKROOM_DOWNLOAD_ALLOW) lists host names and networks, separated by commas, each also with a port. Links
    to them may use plain http and any port, or only theirs. A name does not open a private address: that needs its
    network as well.
    """

    def __init__(self, allow: str = "") -> None:
        try:
            self._allowed = Allowed(allow)
        except ValueError as error:
            raise ConfigurationError(f"{_SETTING}: {error}") from error

    def admit(self, url: str, hosts: Collection[str]) -> Target:
        """Parse a link to one of `hosts` or their subdomains, or to a host that `allow` lists.

        One of `hosts` may be an origin, as `origin_of` writes it, that the operator has named: then its scheme and port
        are allowed, and an address in a private network.

        The path and query stay as they are, byte for byte, because they are signed; only what HTTP cannot carry
        (blanks, non-ASCII) is percent-encoded. Raises LinkForbidden.
        """
        parts = _LINK.fullmatch(url)
        if parts is None or not url.isprintable():
            raise LinkForbidden(
                "the link is not of the form https://host/path, without a user name and with an ASCII host"
            )
        scheme, host = parts["scheme"].lower(), parts["host"].lower().strip("[]")
        path = quote(parts["path"] or "/", safe=_PRINTABLE_ASCII)
        port = int(parts["port"] or PORTS[scheme])
        target = Target(scheme=scheme, host=host, port=port, path=path if path.startswith("/") else f"/{path}")
        if _origin(scheme, host, port) in hosts:
            return replace(target, is_named=True)
        if self._allowed.names(host, port):
            if not 0 < port < 65536:
                raise LinkForbidden(f"{target}: invalid port {port}")
            return target
        if not _is_within(host, hosts):
            raise LinkForbidden(f"{target}: its host is not one of the provider's hosts; {_remedy_for_host(host)}")
        if scheme != "https" or port != PORTS["https"]:
            raise LinkForbidden(f"{target}: only https on port 443 is allowed, unless {_SETTING} names the host")
        return target

    def connect(self, target: Target, *, timeout: float, deadline: float) -> socket.socket:
        """A TCP connection to a checked address of the target.

        `timeout` (seconds) is for each address, `deadline` (of the monotonic clock) for all of them. Raises
        AddressForbidden before any connection if a single one of its addresses is forbidden, OSError if none answers.
        How long the resolution of a name takes at most is the system's setting (resolv.conf).
        """
        addresses, refused = self._resolve(target)
        if refused:
            raise AddressForbidden(
                f"{target}: its host has the forbidden address {refused[0]}: {remedy_for(refused[0])}"
            )
        return connect_to_first(addresses, timeout=timeout, deadline=deadline)

    def check_for_proxy(self, target: Target) -> None:
        """Refuse a forbidden address as host, where a proxy connects and resolves names. Raises AddressForbidden."""
        try:
            address = ipaddress.ip_address(target.host)
        except ValueError:
            return
        if not self._may_connect(address, target.port, is_named=target.is_named):
            raise AddressForbidden(f"{target}: downloads from this address are forbidden: {remedy_for(address)}")

    def refused_addresses(self, host: str) -> "list[IPv4Address | IPv6Address]":
        """The addresses of a host, as it resolves here and now, for which a download from it would be refused.

        Raises OSError for one that cannot be resolved.
        """
        return self._resolve(Target(scheme="https", host=host, port=PORTS["https"], path="/"))[1]

    def _resolve(self, target: Target) -> "tuple[list[Any], list[IPv4Address | IPv6Address]]":
        """What `getaddrinfo` gives for it, and the addresses among it that are forbidden.

        DNS64 adds the translations of good addresses: those are left out if there are others.
        """
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        read = [ipaddress.ip_address(answer[4][0]) for answer in found]
        refused = [one for one in read if not self._may_connect(one, target.port, is_named=target.is_named)]
        are_translations = all(self._translates_a_good_one(one, target.port) for one in refused)
        if refused and len(refused) < len(read) and are_translations:
            return [answer for answer, one in zip(found, read, strict=True) if one not in refused], []
        return found, refused

    def _may_connect(self, address: IPv4Address | IPv6Address, port: int = 443, *, is_named: bool = False) -> bool:
        if is_named and not is_translated(address) and not any(address in network for network in _METADATA):
            return True
        if self._allowed.opens(address, port):
            return not is_translated(address) or self._translates_a_good_one(address, port)
        return is_public(address)

    def _translates_a_good_one(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        original = carried(address) if is_translated(address) else None
        return original is not None and self._may_connect(original, port)


def origin_of(url: str) -> str:
    """Scheme, host and port of an address that the operator wrote, as `AddressGuard.admit` knows it."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return _origin(scheme, parts.hostname or "", parts.port or PORTS[scheme])


def _origin(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{host}:{port}"


def _remedy_for_host(host: str) -> str:
    if host in {"localhost", "::1"} or host.startswith("127."):
        return (
            "it means the machine that wrote the link: configure the relay's public address for its links "
            "(ServerAddress "
            f"in new-api), or, if it runs on this machine, set {_SETTING}=localhost,127.0.0.1,::1"
        )
    return f"if you trust it, add it to {_SETTING} (for a midjourney-proxy, to MJPROXY_RESULT_HOSTS)"


def remedy_for(address: IPv4Address | IPv6Address) -> str:
    """What to do where a resolver gives this forbidden address for the host of a result link."""
    if address.is_unspecified:
        return "a blocklist in the resolver causes this; remove the host from it"
    if any(address in network for network in _METADATA):
        return "no provider has files there: fix the resolver"
    for what, network in _ANSWERS_OF_NETWORKS:
        if address in network:
            return f"that address comes from {what}; if this network works that way, set {_SETTING}={network}"
    return f"if the files are there, set {_SETTING}={address}; otherwise fix the resolver"


def _is_within(host: str, domains: Collection[str]) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)
