"""`darkroom doctor` check of result link hosts: whether downloads from their addresses are allowed."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

from tasks.usecases.doctor.accounts import is_set_up
from tasks.usecases.doctor.finding import Finding, Verdict
from worker.net import AddressGuard, proxy_for, remedy_for
from worker.providers import PROVIDERS
from worker.services import Services

_CHECK = "result hosts"
#: seconds for all names together
_PATIENCE = 3.5

Addresses = list[IPv4Address | IPv6Address]


def examine_hosts(here: Services) -> Iterator[Finding]:
    """Resolve the hosts of results; report those whose downloads would be refused, once per reason."""
    providers = [name for name in PROVIDERS if is_set_up(here, name)]
    known = {host for name in providers for host in here.provider(name).result_hosts}
    # An origin that the operator named is allowed whatever its address.
    named = {urlsplit(host).hostname for host in known if "://" in host}
    # A proxy resolves its own hosts.
    hosts = sorted(host for host in known - named if "://" not in host and proxy_for("https", host, 443) is None)
    if not hosts:
        return
    guard = AddressGuard(here.settings.darkroom_download_allow)
    answered = _resolved(guard, hosts)
    refused: dict[str, list[str]] = {}
    for host, addresses in answered.items():
        if addresses:
            refused.setdefault(remedy_for(addresses[0]), []).append(f"{host} ({addresses[0]})")
    for remedy, several in refused.items():
        message = f"downloads would be refused from {', '.join(several)}: {remedy}"
        yield Finding(_CHECK, Verdict.FAIL, message, {"refused": len(several)})
    if not answered:
        yield Finding(_CHECK, Verdict.WARN, f"none of {len(hosts)} could be resolved, such as {hosts[0]}: check DNS")
    elif not refused:
        yield Finding(_CHECK, Verdict.OK, f"{len(answered)} of {len(hosts)} resolved, downloads allowed")


def _resolved(guard: AddressGuard, hosts: Sequence[str]) -> Mapping[str, Addresses]:
    """Return the addresses of each host that could be resolved in time."""
    answered: dict[str, Addresses] = {}

    def resolve(host: str) -> None:
        with suppress(OSError, ValueError):
            answered[host] = guard.refused_addresses(host)

    # An unresponsive resolver can block a thread for half a minute; a daemon thread does not delay the command's exit.
    threads = [threading.Thread(target=resolve, args=(host,), name=f"resolve {host}", daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    # Later replies are ignored.
    return {host: answered[host] for host in hosts if host in answered}
