"""Decides who needs no token: programs on this machine, but not the pages in its browsers."""

import ipaddress
from collections.abc import Iterator
from functools import lru_cache

from flask import Request

#: headers that proxies add, besides X-Forwarded-…
_OF_PROXIES = ("Forwarded", "Via", "X-Real-Ip")
_NAMES = ("127.0.0.1", "[::1]", "localhost")
_READING = {"GET", "HEAD"}


def objection(request: Request) -> str | None:
    """Return why this request needs a token; None if it comes from this machine itself.

    A web page opened on this machine can send requests to this address too: under its own host name that resolves to
    this address, or with a form. Repeated headers are joined with commas, so they equal no allowed value.
    """
    return next(_objections(request), None)


def _objections(request: Request) -> Iterator[str]:
    # The server's own address, which no header can change.
    here, port = str(request.environ["SERVER_NAME"]), str(request.environ["SERVER_PORT"])
    if not is_loopback(here):
        yield f"the API listens on {here}, not only on this machine's loopback address"
    if not is_loopback(request.remote_addr or ""):
        yield "the connection comes from another machine"
    host = request.headers.get("Host", "").lower()
    if host not in _own_hosts(port):
        yield f"Host is {host!r}, not {_NAMES[0]}:{port}, {_NAMES[1]}:{port} or {_NAMES[2]}:{port}"
    for name in request.headers.keys():  # noqa: SIM118  iterating over the headers gives pairs
        if name.title().startswith("X-Forwarded") or name.title() in _OF_PROXIES:
            yield f"the request came through a proxy ({name.title()})"
    # The second is how granian names it.
    if request.environ["SERVER_PROTOCOL"] in {"HTTP/1.0", "HTTP/1"}:
        # nginx uses it towards its upstreams, with our own Host and without a header that identifies it.
        yield "it uses HTTP/1.0, which suggests a proxy"
    if request.method not in _READING:
        yield from _of_pages(request, host)


def _of_pages(request: Request, host: str) -> Iterator[str]:
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if origin is not None and origin.lower() != f"{request.environ['wsgi.url_scheme']}://{host}":
        yield f"a web page from {origin!r} sent it"
    if site not in {None, "same-origin", "none"}:
        yield "a web page from another site sent it"


def _own_hosts(port: str) -> set[str]:
    return {f"{name}:{port}" for name in _NAMES} | (set(_NAMES) if port == "80" else set())


@lru_cache(64)
def is_loopback(address: str) -> bool:
    """Return whether this is a loopback address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address == "localhost"
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback
