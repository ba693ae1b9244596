"""Outgoing connections: direct, or through the proxy in HTTPS_PROXY or HTTP_PROXY unless NO_PROXY lists the host.

https uses a tunnel (CONNECT), so the TLS session is with the target itself and its certificate is checked. For http,
the proxy receives the whole address. A proxy resolves names itself, so the address cannot be checked here. Connections
to this machine are always direct.
"""

import base64
import errno
import ipaddress
import os
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from worker.errors import ConfigurationError
from worker.net.addresses import PORTS, connect_to_first, is_private, read_address

#: bytes of a proxy's reply to CONNECT
_LONGEST_ANSWER = 16 * 1024
_ANSWER = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
#: an entry of NO_PROXY; an IPv6 address needs brackets before a port
_WITH_PORT = re.compile(r"(?P<name>\[.*\]|[^:]*):(?P<port>[0-9]{1,5})")
_NO_HEADERS: Mapping[str, str] = {}


class ProxyError(OSError):
    """The proxy opened no connection, so nothing was sent to the target. The text is a sentence without secrets."""

    def __init__(self, sentence: str) -> None:
        super().__init__(errno.EHOSTUNREACH, sentence)

    def __str__(self) -> str:
        return str(self.strerror)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. Its string form is its address and setting, without user and password."""

    #: the variable that names it
    setting: str
    host: str
    port: int
    #: the value of Proxy-Authorization
    authorization: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the additional headers for a request that the proxy itself reads."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else _NO_HEADERS

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port} ({self.setting})"

    def reach(self, scheme: str, host: str, port: int, *, timeout: float, deadline: float) -> socket.socket:
        """Return a connection for TLS with `host`, or to the proxy itself for plain http.

        `timeout` is in seconds, `deadline` monotonic. Raises ProxyError.
        """
        times = {"timeout": timeout, "deadline": deadline}
        return self._tunnel(host, port, **times) if scheme == "https" else self._connect(**times)

    def _connect(self, *, timeout: float, deadline: float) -> socket.socket:
        patience = min(timeout, deadline - time.monotonic())
        if patience <= 0:
            raise ProxyError(f"the proxy {self} did not answer in time")
        try:
            answers = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
            connection = connect_to_first(answers, timeout=patience, deadline=deadline)
        except OSError as error:
            reason = error.strerror or ("no answer" if isinstance(error, TimeoutError) else type(error).__name__)
            raise ProxyError(f"the proxy {self} is unreachable: {reason}") from error
        return connection

    def _tunnel(self, host: str, port: int, *, timeout: float, deadline: float) -> socket.socket:
        connection = self._connect(timeout=timeout, deadline=deadline)
        try:
            status = self._ask(connection, f"{_bracketed(host)}:{port}", min(deadline, time.monotonic() + timeout))
        except OSError as error:
            connection.close()
            raise ProxyError(f"the proxy {self} closed the connection instead of opening a tunnel") from error
        except BaseException:
            connection.close()
            raise
        if not 200 <= status < 300:
            connection.close()
            advice = _ADVICE.get(status, "")
            raise ProxyError(f"the proxy {self} refuses a tunnel to {host}: HTTP {status}{advice}")
        connection.settimeout(timeout)
        return connection

    def _ask(self, connection: socket.socket, authority: str, deadline: float) -> int:
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            # Read byte by byte: what follows the header belongs to the tunnel.
            piece = connection.recv(1)
            if not piece or len(answer) > _LONGEST_ANSWER or time.monotonic() > deadline:
                raise ConnectionError
            answer += piece
        found = _ANSWER.match(answer)
        if found is None:
            raise ConnectionError
        return int(found[1])


_ADVICE = {
    407: ": it requires another user name and password, written as USER:PASSWORD@ before its host",
    403: ": it forbids this host; allow it there",
}


def proxy_for(scheme: str, host: str, port: int) -> Proxy | None:
    """Return the proxy for this target, None for a direct connection. Raises ConfigurationError."""
    if scheme not in PORTS or is_this_machine(host) or _is_excepted(host.lower(), port):
        return None
    setting, value = _variable(f"{scheme}_proxy")
    return _read(setting, value) if value else None


def proxy_for_url(url: str) -> Proxy | None:
    """Return `proxy_for` the host of a web address."""
    parts = urlsplit(url)
    return proxy_for(parts.scheme, parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0))


def proxies() -> list[Proxy]:
    """Return the environment's proxies. Raises ConfigurationError with the variable's name if one is invalid."""
    found = map(_variable, ("https_proxy", "http_proxy"))
    return [_read(setting, value) for setting, value in found if value]


def proxy_secrets() -> tuple[str, ...]:
    """Return what no log may show: passwords, their encoded forms, and the header made from them."""
    found: list[str] = []
    for scheme in PORTS:
        _, value = _variable(f"{scheme}_proxy")
        with suppress(ValueError):
            parts = urlsplit(value if "://" in value else f"http://{value}")
            secret = parts.password or parts.username
            if secret:
                found += [secret, unquote(secret), _basic(parts.username or "", parts.password or "")]
    return tuple(found)


def is_this_machine(host: str) -> bool:
    """Return whether a name or address is this machine, without using a resolver."""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_reached_directly(url: str) -> bool:
    """Return whether to reach a self-hosted service without a proxy: none applies, or its host resolves privately."""
    return proxy_for_url(url) is None or is_inside(url)


def is_inside(url: str) -> bool:
    """Return whether the host resolves to private addresses only; False if it does not resolve."""
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(is_private(read_address(str(address[0]))) for *_, address in found)


def _variable(name: str) -> tuple[str, str]:
    """Return the variable that is set, and its value; lower case takes precedence, as in curl."""
    for each in (name, name.upper()):
        if value := os.environ.get(each, "").strip():
            return each, value
    return name.upper(), ""


def _read(setting: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        # A single word is more likely a mistake than a machine's name.
        host, port = parts.hostname if "://" in value or parts.port else None, parts.port or 80
    except ValueError:
        host = None
    if not host or not host.isascii() or parts.scheme != "http" or parts.path.strip("/") or parts.query:
        raise ConfigurationError(
            f"{setting} is not a proxy address: write it as http://HOST:PORT, with USER:PASSWORD@ before the host "
            "if it requires them (percent-encode @, / and the like in a password); SOCKS and HTTPS proxies are not "
            "supported"
        )
    has_credentials = parts.username is not None
    return Proxy(setting, host, port, _basic(parts.username or "", parts.password or "") if has_credentials else None)


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def _is_excepted(host: str, port: int) -> bool:
    """Check NO_PROXY: names and their subdomains, addresses, networks such as 10.0.0.0/8, with or without a port."""
    _, value = _variable("no_proxy")
    for entry in filter(None, re.split(r"[\s,]+", value.lower())):
        of_port = _WITH_PORT.fullmatch(entry)
        if of_port and int(of_port["port"]) != port:
            continue
        if entry == "*" or _matches(host, (of_port["name"] if of_port else entry).strip("[]")):
            return True
    return False


def _matches(host: str, entry: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        suffix = entry.removeprefix("*").lstrip(".")
        return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def whole_address(host: str, port: int, path: str) -> str:
    """Return the absolute URL that a proxy expects in plain http, where a server expects the path."""
    return f"http://{_bracketed(host)}{'' if port == PORTS['http'] else f':{port}'}{path}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
