"""Addresses that a submission names for its own events, and which of them are allowed (SSRF).

Whoever may submit chooses them, and must not reach through them what only this machine can: an address is https and
public, or DARKROOM_NOTIFY_ALLOW names it. Its form is checked here; what its name resolves to, at each connection.
"""

import hashlib
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from worker.errors import AddressForbidden
from worker.net import PORTS, AddressGuard, Allowed, Target, is_host_name
from worker.subscribers.subscribers import check_address

_SETTING = "DARKROOM_NOTIFY_ALLOW"
_LONGEST = 2048
_FORM = "is not of the form https://host/path, with a host that is a name or an address"
_PRIVATE = f"is not public: name its host and its address or network in {_SETTING} if events may be sent there"


@dataclass(frozen=True, slots=True)
class NotifyAddress:
    """Where the events of a submission go. `url` is a secret, because it may contain one; its `origin` may be shown."""

    url: str = field(repr=False)

    @property
    def origin(self) -> str:
        """Scheme and host, and the port if it is not the usual one."""
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = "" if parts.port in {None, PORTS[parts.scheme]} else f":{parts.port}"
        return f"{parts.scheme}://{host}{port}"

    @property
    def subscriber(self) -> str:
        """The name of the subscriber that all addresses of this origin share."""
        digest = hashlib.sha256(self.origin.encode()).hexdigest()[:8]
        return f"{NOTIFY_PREFIX}{urlsplit(self.url).hostname}-{digest}"


#: names of subscribers that belong to origins, and to nobody else
NOTIFY_PREFIX = "notify:"


class NotifyRule:
    """DARKROOM_NOTIFY_ALLOW, in the form of DARKROOM_DOWNLOAD_ALLOW. `guard`: for connections to what was read."""

    def __init__(self, allow: str) -> None:
        self._allowed = Allowed(allow)
        self.guard = AddressGuard(allow)

    def read(self, url: str) -> NotifyAddress:
        """Parse an address; raises ValueError, whose text continues a sentence and does not contain it."""
        if len(url) > _LONGEST:
            raise ValueError(f"has more than {_LONGEST:,} characters")
        check_address(url)
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if port == 0 or not (_is_literal(host) or is_host_name(host)):
            raise ValueError(_FORM)
        port = port or PORTS[parts.scheme]
        is_allowed = self._allowed.names(host, port)
        if parts.scheme != "https" and not is_allowed:
            raise ValueError(f"must be https, unless {_SETTING} names its host")
        is_here = host == "localhost" or host.endswith(".localhost")
        if (is_here and not is_allowed) or self._is_forbidden(parts.scheme, host, port):
            raise ValueError(_PRIVATE)
        return NotifyAddress(url)

    def _is_forbidden(self, scheme: str, host: str, port: int) -> bool:
        try:
            self.guard.check_for_proxy(Target(scheme=scheme, host=host, port=port, path="/"))
        except AddressForbidden:
            return True
        return False


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    # An address with a zone is none of those that are known by themselves, such as a cloud's metadata service.
    return "%" not in host
