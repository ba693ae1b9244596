"""Fetch one result link: from an allowed place, in bounded time and memory, every byte as the server sent it."""

import http.client
import ssl
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from tempfile import SpooledTemporaryFile
from typing import IO
from urllib.parse import urljoin

from worker.address_guard import AddressGuard, Target
from worker.connections import ConnectionPool
from worker.errors import ContentInvalid, DownloadError, LinkBlocked, LinkDead, LinkForbidden
from worker.transfer import MEMORY_PART, Interrupted, Transfer
from worker.trust import trusted_authorities

_MAX_REDIRECTS = 3
#: connections that may break within one file, where the server goes on each time
_MAX_INTERRUPTIONS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEAD = frozenset({403, 404, 410})
#: with which firewalls refuse
_REFUSALS = frozenset({401, 403, 406, 429, 503})
#: bytes of a refusal that are looked at
_PAGE = 2048


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds; `total` is for one download with all its redirects, however steadily its bytes drip."""

    connect: float = 5
    read: float = 10
    total: float = 60
    bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Download:
    """What came, rewound. The file has no name and is gone after the `with` block of `Downloader.fetch`."""

    file: IO[bytes]
    sha256: str
    bytes: int
    #: the server's Content-Type: noted, never trusted
    declared_type: str | None


class Downloader:
    """Fetches links and keeps the connections alive between them; safe to share among threads, not across a fork.

    `allow` is DARKROOM_DOWNLOAD_ALLOW. Proxy variables, .netrc and cookies play no part.
    """

    def __init__(self, allow: str = "", limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._guard = AddressGuard(allow)
        self._connections = ConnectionPool(
            self._guard, trusted_authorities(), connect_timeout=self._limits.connect, read_timeout=self._limits.read
        )
        self._headers = {
            "Accept": "*/*",
            # A compressed reply could grow a thousandfold; an image does not shrink anyway.
            "Accept-Encoding": "identity",
            "User-Agent": _user_agent(),
        }

    @contextmanager
    def fetch(self, url: str, hosts: Collection[str]) -> Iterator[Download]:
        """Download a link to one of `hosts` (or their subdomains) into a temporary file.

        Raises LinkForbidden, LinkDead (403, 404, 410), LinkBlocked, ContentInvalid (too large, cut off, compressed) or
        DownloadError (what may pass). Their texts never contain the query of the link.
        """
        deadline = time.monotonic() + self._limits.total
        target = self._guard.admit(url, hosts)
        with SpooledTemporaryFile(MEMORY_PART) as file:
            transfer = Transfer(file, self._limits.bytes)
            redirects = interruptions = 0
            while True:
                try:
                    location = self._visit(target, transfer, deadline)
                except Interrupted as error:
                    interruptions += 1
                    if interruptions > _MAX_INTERRUPTIONS:
                        raise ContentInvalid(f"{target}: truncated {interruptions} times") from error
                    continue
                if location is None:
                    break
                redirects += 1
                if redirects > _MAX_REDIRECTS:
                    raise DownloadError(f"{target}: redirected more than {_MAX_REDIRECTS} times")
                try:
                    target = self._guard.admit(location, hosts)
                except LinkForbidden as error:
                    raise type(error)(f"{target} redirects to a forbidden place: {error}") from error
            file.seek(0)
            yield Download(file, transfer.sha256, transfer.received, transfer.declared_type)

    def close(self) -> None:
        """Close the connections that are kept for later."""
        self._connections.close()

    def _visit(self, target: Target, transfer: Transfer, deadline: float) -> str | None:
        """Take what comes; the link that the server redirects to, if it does."""
        headers = self._headers | transfer.request_headers()
        with _translated(target), self._connections.get(target, headers, deadline) as response:
            if response.status in _REDIRECTS:
                return _redirected(target, response.getheader("Location", ""))
            _check(target, response, rest="Range" in headers)
            try:
                transfer.receive(response)
            except ContentInvalid as error:
                raise ContentInvalid(f"{target}: {error}") from error
        return None


def _check(target: Target, response: http.client.HTTPResponse, *, rest: bool) -> None:
    if response.status in _REFUSALS and _is_firewall(response):
        raise LinkBlocked(
            f"{target}: HTTP {response.status} from a firewall, which says nothing about the file: let the address of "
            "this network through there, if you can"
        )
    if response.status in _DEAD:
        raise LinkDead(f"{target}: HTTP {response.status}: there is no file behind the link (yet, or any more)")
    if response.status != 200 and not (rest and response.status == 206):
        raise DownloadError(f"{target}: HTTP {response.status} instead of the file")
    for header, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
        encoding = response.getheader(header, plain)
        if encoding.lower() != plain:
            raise ContentInvalid(f"{target}: came with {header} {encoding[:40]!r}; only plain bytes are accepted")


def _is_firewall(response: http.client.HTTPResponse) -> bool:
    """Whether a refusal is a page that asks for a browser (Cloudflare and its like), and no word of the file's host."""
    if response.getheader("cf-mitigated"):
        return True
    said = response.read(_PAGE).lstrip().lower()
    return said.startswith((b"<!doctype html", b"<html", b"error code: 10"))


def _redirected(target: Target, location: str) -> str:
    try:
        return urljoin(str(target), location)
    except ValueError as error:
        raise DownloadError(f"{target}: redirects to what is no link") from error


@contextmanager
def _translated(target: Target) -> Iterator[None]:
    try:
        yield
    except http.client.IncompleteRead as error:
        raise ContentInvalid(f"{target}: truncated: the connection ended within the file") from error
    except ssl.SSLCertVerificationError as error:
        raise DownloadError(f"{target}: its certificate is not valid: {error.verify_message}") from error
    except TimeoutError as error:
        raise DownloadError(f"{target}: too slow: {error}") from error
    except OSError as error:
        raise DownloadError(f"{target}: {error.strerror or type(error).__name__}") from error
    except http.client.HTTPException as error:
        raise DownloadError(f"{target}: the answer is not proper HTTP ({type(error).__name__})") from error


def _user_agent() -> str:
    try:
        return f"Darkroom/{metadata.version('darkroom')}"
    except metadata.PackageNotFoundError:
        # run from a checkout that is not installed
        return "Darkroom"
