"""Who gets in: programs and people on this machine, people named by a trusted proxy, and people logged in."""

import ipaddress
from enum import StrEnum
from typing import NamedTuple

from flask import Request

from tasks.usecases.users import Role, read_name, role_of, visitor_of
from webhook.console.cookies import session_cookie
from webhook.console.problems import Shut
from webhook.loopback import is_loopback, objection
from worker.errors import RequestInvalid
from worker.services import Services
from worker.settings import Settings


class Way(StrEnum):
    """How somebody was let in."""

    #: without a login, as programs on this machine use the API without a token
    LOCAL = "local"
    PROXY = "proxy"
    PASSWORD = "password"  # noqa: S105  a word


class LetIn(NamedTuple):
    """The person who views the pages."""

    name: str
    role: Role
    way: Way

    @property
    def may_operate(self) -> bool:
        return self.role is Role.OPERATOR

    @property
    def may_log_out(self) -> bool:
        return self.way is Way.PASSWORD


def whoever_asks(here: Services, request: Request) -> LetIn | None:
    """Return who sent this request; None for a stranger. Raises Shut for a proxy that is not trusted."""
    if (named := _named_by_proxy(here, request)) is not None:
        return named
    if objection(request) is None:
        return LetIn("local", Role.OPERATOR, Way.LOCAL)
    found = visitor_of(here, session_cookie(request, here.settings))
    return None if found is None else LetIn(found.name, found.role, Way.PASSWORD)


def address_of(request: Request, settings: Settings) -> str:
    """Return the visitor's address, according to the trusted proxy if the request came through one."""
    peer = request.remote_addr or ""
    if is_loopback(peer) or _is_trusted(peer, settings):
        # Only the last entry can be trusted: anybody may have written the others.
        said = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
        if _read(said) is not None:
            return said
    return peer


def _named_by_proxy(here: Services, request: Request) -> LetIn | None:
    settings = here.settings
    header = settings.darkroom_console_proxy_header
    if header is None or (value := request.headers.get(header)) is None:
        return None
    if not _is_trusted(request.remote_addr or "", settings):
        raise Shut(
            f"the header {header} came from {request.remote_addr}, which is not in DARKROOM_CONSOLE_PROXY_NETWORKS: "
            "open the console through the proxy, or add that address",
        )
    # A page with its own host name could send the header from a browser on the proxy's machine.
    if request.host.lower() != settings.console_host:
        raise Shut(
            f"Host is {request.host!r}, not the host of CONSOLE_URL: make the proxy forward the Host that it "
            "receives (nginx: proxy_set_header Host $http_host)",
        )
    try:
        name = read_name(value.encode("latin-1").decode())
    except (UnicodeError, RequestInvalid):
        raise Shut(
            f"the proxy sent {header} without a readable name: send the header once, with 1 to 100 characters",
        ) from None
    role = role_of(here, name) or Role(settings.darkroom_console_proxy_role)
    return LetIn(name, role, Way.PROXY)


def _is_trusted(address: str, settings: Settings) -> bool:
    found = _read(address)
    if found is None:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in settings.console_proxies)


def _read(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None
