"""DARKROOM_DOWNLOAD_ALLOW: hosts and networks that downloads may reach besides the providers' hosts.

It applies to every link of every provider, so entries that allow nearly everything are refused, and a cloud's metadata
service must be named by its address.
"""

import ipaddress
import re
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# A last label that is a number makes the resolver read the whole name as an IPv4 address (127.1, 0x7f000001).
_NAME = re.compile(rf"(?:{LABEL}\.)*(?!\d){LABEL}", re.ASCII)
_WITH_PORT = re.compile(r"(?P<host>[^:]+|\[[^\]]+\](?:/[0-9]+)?):(?P<port>[0-9]{1,5})", re.ASCII)

#: where clouds give their machines credentials: a network opens none of them, only its address itself does
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "169.254.169.253",  # Amazon's resolver
        "169.254.170.2",  # credentials of Amazon's containers
        "169.254.170.23",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "168.63.129.16",  # Azure's platform
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle
        "fd20:ce::254",  # Google
    )
)
#: these are nobody's machine; of the newer ones, as `app` or `media`, many are
_TOP_LEVEL = frozenset({"com", "net", "org", "info", "biz", "edu", "gov", "mil", "int"})
#: bits; the private networks of RFC 1918 and RFC 4193 have 8 and 7
_WIDEST = {4: 8, 6: 7}
_NAT64 = IPv6Network("64:ff9b::/96")


def is_host_name(text: str) -> bool:
    """Return whether it is the name of a host, in small letters, that no resolver reads as an address."""
    return _NAME.fullmatch(text) is not None


class _Name(NamedTuple):
    host: str
    port: int | None


class _Network(NamedTuple):
    network: IPv4Network | IPv6Network
    port: int | None


class Allowed:
    """The parsed setting. Raises ValueError with the invalid entry and what to write instead."""

    def __init__(self, setting: str) -> None:
        self._names: list[_Name] = []
        self._networks: list[_Network] = []
        for entry in filter(None, (part.strip().lower() for part in setting.split(","))):
            found = _WITH_PORT.fullmatch(entry)
            host, port = (found["host"], int(found["port"])) if found else (entry, None)
            if port is not None and not 0 < port < 65536:
                raise _refused(entry, f"has a port that does not exist: {port}")
            if _NAME.fullmatch(host):
                _check_name(entry, host, port)
                self._names.append(_Name(host, port))
            else:
                self._networks.append(_Network(_network(entry, host if found is None else host.strip("[]")), port))

    def names(self, host: str, port: int) -> bool:
        """Return whether links to this host, a name or an address, may use plain http and this port."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return any(allowed.port in {None, port} and _is_named(host, allowed.host) for allowed in self._names)
        return self.opens(address, port)

    def opens(self, address: IPv4Address | IPv6Address, port: int) -> bool:
        """Return whether connections to this private address are allowed."""
        is_guarded = address in _METADATA or _inner(address) in _METADATA
        return any(
            address in allowed.network
            and allowed.port in {None, port}
            and (not is_guarded or allowed.network.num_addresses == 1)
            for allowed in self._networks
        )


def check_hosts(setting: str) -> None:
    """Raise ValueError if one of a provider's result hosts, separated by commas, is a public suffix."""
    for host in (part.strip().lower() for part in setting.split(",")):
        if _NAME.fullmatch(host):
            _check_name(host, host, None)


@cache
def _public_suffixes() -> "PublicSuffixList":
    # Only who names hosts pays for the list.
    from publicsuffixlist import PublicSuffixList  # noqa: PLC0415

    return PublicSuffixList(accept_unknown=False)


def _check_name(entry: str, host: str, port: int | None) -> None:
    is_public = _public_suffixes().is_public(host)
    if "." not in host:
        # One word is that machine alone, with the name that a private network gave it.
        is_public = port is None and (host in _TOP_LEVEL or (len(host) == 2 and is_public))
    if is_public:
        raise _refused(entry, f"is a suffix under which anybody can have a host: name the host, such as files.{host}")


def _network(entry: str, text: str) -> IPv4Network | IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise _refused(
            entry,
            "is neither a host name nor an address or network such as 10.1.0.0/16, nor one of these with a port, "
            "such as 127.0.0.1:9000 or [fd00::7]:9000",
        ) from error
    if network.prefixlen < _WIDEST[network.version]:
        raise _refused(entry, "covers nearly every address: name only the network that has the files")
    return network


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if isinstance(address, IPv4Address):
        return None
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.ipv4_mapped or address.sixtofour


def _is_named(host: str, allowed: str) -> bool:
    return host == allowed or ("." in allowed and host.endswith(f".{allowed}"))


def _refused(entry: str, why: str) -> ValueError:
    return ValueError(f"{entry!r} {why}")
