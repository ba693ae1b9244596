"""Fetches a result link byte for byte, only from allowed hosts, in bounded memory and time."""

import http.client
import ssl
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from typing import IO
from urllib.parse import urljoin

from worker.downloads.parked import Parked
from worker.downloads.transfer import Interrupted, Transfer
from worker.errors import ContentInvalid, DownloadError, LinkBlocked, LinkDead, LinkForbidden, SetDown, TooSlow
from worker.net import AddressGuard, ConnectionPool, Target, trusted_authorities

_MAX_REDIRECTS = 3
#: connections that may break during one file if the server resumes each time
_MAX_INTERRUPTIONS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NO_SUCH_RANGE = 416
_DEAD = frozenset({403, 404, 410})
_FORBIDDEN = frozenset({401, 403, 406})
#: statuses with which firewalls refuse requests
_REFUSALS = frozenset({401, 403, 406, 429, 503})
#: required by some firewalls (cdn.midjourney.com, Cloudflare's rule 1010)
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
_MOST_ORIGINS = 1000
#: bytes of a refusal's body to inspect
_PAGE = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds. `read`: longest wait for a byte; `least`: minimum average bytes per second after `grace`."""

    connect: float = 5
    read: float = 30
    grace: float = 60
    least: float = 100
    bytes: int = 64 * 1024 * 1024


def forever() -> bool:
    """Return True: never stop a download in favor of others."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """The downloaded file, rewound. It has no name, and is deleted at the end of the `with` block of `fetch`."""

    file: IO[bytes]
    sha256: str
    bytes: int
    #: the server's Content-Type; recorded, never trusted
    declared_type: str | None
    #: the server's Content-Encoding, if the body was not decoded
    coding: str | None = None


class Downloader:
    """Fetches links over keep-alive connections. Thread-safe, but not fork-safe.

    `allow` is DARKROOM_DOWNLOAD_ALLOW, `user_agent` is DARKROOM_USER_AGENT. Proxy variables, .netrc and cookies are
    not used.
    """

    def __init__(self, allow: str = "", limits: Limits | None = None, user_agent: str | None = None) -> None:
        self._limits = limits or Limits()
        self._guard = AddressGuard(allow)
        self._connections = ConnectionPool(
            self._guard, trusted_authorities(), connect_timeout=self._limits.connect, read_timeout=self._limits.read
        )
        self._headers = {
            "Accept": "*/*",
            # Compression would not make an image smaller.
            "Accept-Encoding": "identity",
            "User-Agent": user_agent or _user_agent(),
        }
        self._parked = Parked()
        #: origins that serve files only to browsers
        self._for_browsers: set[tuple[str, str, int]] = set()

    @contextmanager
    def fetch(self, url: str, hosts: Collection[str], may_go_on: Callable[[], bool] = forever) -> Iterator[Download]:
        """Download a link to one of `hosts` (or their subdomains) into a temporary file.

        `may_go_on` is called in this thread whenever bytes arrive. False raises SetDown; if the server can resume, the
        next call for this link in this process continues with the rest.

        Raises LinkForbidden, LinkDead (403, 404, 410), LinkBlocked, ContentInvalid (too large, truncated, damaged) or
        DownloadError (transient). Their texts never contain the link's query.
        """
        target = self._guard.admit(url, hosts)
        transfer = self._parked.take(url) or Transfer(self._limits.bytes)
        try:
            self._receive(target, hosts, transfer, may_go_on)
        except BaseException as error:
            if isinstance(error, DownloadError) and not isinstance(error, ContentInvalid) and transfer.can_go_on():
                self._parked.keep(url, transfer)
                if isinstance(error, SetDown):
                    error.can_resume = True
            else:
                transfer.close()
            raise
        try:
            transfer.file.seek(0)
            yield Download(
                file=transfer.file,
                sha256=transfer.sha256,
                bytes=transfer.size,
                declared_type=transfer.declared_type,
                coding=transfer.coding,
            )
        finally:
            transfer.close()

    def close(self) -> None:
        """Close idle connections and drop unfinished downloads."""
        self._connections.close()
        self._parked.close()

    def _receive(
        self, target: Target, hosts: Collection[str], transfer: Transfer, may_go_on: Callable[[], bool]
    ) -> None:
        pace = _Pace(self._limits, may_go_on)
        redirects = interruptions = 0
        as_browser = False
        while True:
            as_browser = as_browser or target.origin in self._for_browsers
            try:
                location = self._visit(target, transfer, pace, as_browser=as_browser)
            except Interrupted as error:
                interruptions += 1
                if interruptions > _MAX_INTERRUPTIONS:
                    raise DownloadError(f"{target}: truncated {interruptions} times; resuming from there") from error
                continue
            except (LinkBlocked, LinkDead) as error:
                # A firewall may merely require a browser, and does not always say so.
                if as_browser or not error.is_forbidden:
                    raise
                as_browser = True
                continue
            if location is None:
                break
            redirects += 1
            if redirects > _MAX_REDIRECTS:
                raise DownloadError(f"{target}: redirected more than {_MAX_REDIRECTS} times")
            try:
                target = self._guard.admit(location, hosts)
            except LinkForbidden as error:
                raise type(error)(f"{target} redirects to a forbidden address: {error}") from error
        if as_browser and len(self._for_browsers) < _MOST_ORIGINS:
            self._for_browsers.add(target.origin)

    def _visit(self, target: Target, transfer: Transfer, pace: "_Pace", *, as_browser: bool) -> str | None:
        """Receive the response; return the redirect's target, if any."""
        with _translated(target):
            pace(0)
        headers = self._headers | transfer.request_headers()
        if as_browser:
            headers["User-Agent"] = _BROWSER
        with _translated(target), self._connections.get(target, headers, pace) as response:
            if response.status in _REDIRECTS:
                return _redirected(target, response.getheader("Location", ""))
            if response.status == _NO_SUCH_RANGE and "Range" in headers:
                transfer.forget_version()
                raise Interrupted
            _check(target, response, rest="Range" in headers)
            try:
                transfer.receive(response)
            except ContentInvalid as error:
                raise ContentInvalid(f"{target}: {error}") from error
        return None


class _Pace:
    """Called with the size of each piece received; ends downloads that are too slow or must make room for others."""

    def __init__(self, limits: Limits, may_go_on: Callable[[], bool]) -> None:
        self._limits = limits
        self._may_go_on = may_go_on
        self._began = time.monotonic()
        self._came = 0

    def __call__(self, count: int) -> None:
        self._came += count
        seconds = time.monotonic() - self._began
        least = self._limits.least
        if seconds > self._limits.grace and self._came < least * seconds:
            raise TimeoutError(f"received {self._came:,} bytes in {seconds:.0f} s, less than {least:g} per second")
        if not self._may_go_on():
            raise _NotNow


class _NotNow(Exception):
    """The download must make room for others. Not an OSError, which the transfer would treat as a broken connection."""


def _check(target: Target, response: http.client.HTTPResponse, *, rest: bool) -> None:
    error: DownloadError | None = None
    if response.status in _REFUSALS and _is_firewall(response):
        error = LinkBlocked(
            f"{target}: HTTP {response.status} from a firewall, which also refuses a browser's User-Agent; the "
            "file may still exist: set DARKROOM_USER_AGENT to one that it accepts, or use another network"
        )
    elif response.status in _DEAD:
        error = LinkDead(f"{target}: HTTP {response.status}: there is no file at this link (not yet, or no longer)")
    if error is not None:
        error.is_forbidden = response.status in _FORBIDDEN
        raise error
    if response.status != 200 and not (rest and response.status == 206):
        raise DownloadError(f"{target}: HTTP {response.status} instead of the file")
    encoding = response.getheader("Transfer-Encoding", "")
    if encoding.strip().lower() not in {"", "identity", "chunked"}:
        raise ContentInvalid(f"{target}: unsupported Transfer-Encoding {encoding[:40]!r}")


def _is_firewall(response: http.client.HTTPResponse) -> bool:
    """Return whether a firewall that requires a browser (Cloudflare etc.) refused, rather than the file's host."""
    if response.getheader("cf-mitigated"):
        return True
    said = response.read(_PAGE).lstrip().lower()
    return said.startswith((b"<!doctype html", b"<html", b"error code: 10"))


def _redirected(target: Target, location: str) -> str:
    try:
        return urljoin(str(target), location)
    except ValueError as error:
        raise DownloadError(f"{target}: redirects to an invalid link") from error


@contextmanager
def _translated(target: Target) -> Iterator[None]:
    try:
        yield
    except _NotNow as error:
        raise SetDown(f"{target}: suspended because it takes long; resumed when there is room") from error
    except http.client.IncompleteRead as error:
        raise ContentInvalid(f"{target}: truncated: the connection ended within the file") from error
    except ssl.SSLCertVerificationError as error:
        raise DownloadError(f"{target}: its certificate is not valid: {error.verify_message}") from error
    except TimeoutError as error:
        raise TooSlow(f"{target}: too slow: {error}") from error
    except OSError as error:
        raise DownloadError(f"{target}: {error.strerror or type(error).__name__}") from error
    except http.client.HTTPException as error:
        raise DownloadError(f"{target}: the response is not valid HTTP ({type(error).__name__})") from error


def _user_agent() -> str:
    try:
        return f"Darkroom/{metadata.version('darkroom')}"
    except metadata.PackageNotFoundError:
        # Runs from a checkout that is not installed.
        return "Darkroom"
