"""What `darkroom doctor` looks at in the hosts of result links: whether downloads may go where they lead here."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
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
    """Resolve the hosts that results come from, and tell of those whose downloads would be refused, once per reason."""
    providers = [name for name in PROVIDERS if is_set_up(here, name)]
    known = {host for name in providers for host in here.provider(name).result_hosts}
    # An origin that the operator has named is reached whatever its address.
    named = {urlsplit(host).hostname for host in known if "://" in host}
    # What goes through a proxy is resolved there.
    hosts = sorted(host for host in known - named if "://" not in host and proxy_for("https", host, 443) is None)
    if not hosts:
        return
    guard = AddressGuard(here.settings.darkroom_download_allow)
    pool = ThreadPoolExecutor(len(hosts), thread_name_prefix="resolve")
    asked = {host: pool.submit(guard.refused_addresses, host) for host in hosts}
    wait(asked.values(), _PATIENCE)
    pool.shutdown(wait=False, cancel_futures=True)
    answered = {host: found for host, future in asked.items() if (found := _answer(future)) is not None}
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


def _answer(future: "Future[Addresses]") -> Addresses | None:
    return future.result() if future.done() and not future.cancelled() and future.exception() is None else None
