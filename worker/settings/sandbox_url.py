"""DARKROOM_SANDBOX_URL: where test generations go, which must never be a provider that charges for them."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from worker.net import PORTS, is_private

_EXAMPLE = "such as http://127.0.0.1:9000"
#: last labels of names that are never public
_INSIDE = (".localhost", ".internal", ".local")


def check_sandbox_url(url: str) -> None:
    """Raise ValueError unless it is the address of a machine in a private network, without a path."""
    parts = urlsplit(url)
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"it has more than a host and a port: give only the address of the sandbox, {_EXAMPLE}")
    if not _is_inside(parts.hostname or ""):
        raise ValueError(
            f"{parts.hostname} may be a public host, which a sandbox must not be: give the address of `darkroom "
            "sandbox` on "
            f"this machine or in your network, {_EXAMPLE}"
        )


def paid_addresses(url: str, base_urls: Mapping[str, str | None]) -> Iterator[str]:
    """Yield the names of the settings, of these, with the address of a provider at the sandbox's."""
    sandbox = _place(url)
    return (name for name, other in base_urls.items() if other and _place(other) == sandbox)


def _is_inside(host: str) -> bool:
    try:
        return is_private(ip_address(host))
    except ValueError:
        # A resolver reads names that begin with a digit, such as 134744072, as addresses.
        return not host[:1].isdigit() and ("." not in host or host.endswith(_INSIDE))


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_here = host in {"localhost", "::1"} or host.startswith("127.")
    return "localhost" if is_here else host, parts.port or PORTS[parts.scheme]
