"""Fetch one result link: from an allowed place, in bounded time and memory, every byte as the server sent it."""

import hashlib
import http.client
import os
import ssl
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO
from urllib.parse import urljoin

import certifi

from worker.address_guard import AddressGuard, Target
from worker.connections import ConnectionPool
from worker.errors import ConfigurationError, ContentInvalid, DownloadError, LinkDead, LinkForbidden

#: bytes; a download this small never touches the disk
MEMORY_PART = 1024 * 1024

_PIECE = 256 * 1024
_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEAD = frozenset({403, 404, 410})


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
            self._guard, _tls_context(), connect_timeout=self._limits.connect, read_timeout=self._limits.read
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

        Raises LinkForbidden, LinkDead (403, 404, 410), ContentInvalid (too large, cut off, compressed) or DownloadError
        (what may pass). Their texts never contain the query of the link.
        """
        deadline = time.monotonic() + self._limits.total
        target = self._guard.admit(url, hosts)
        with SpooledTemporaryFile(MEMORY_PART) as file:
            for _ in range(1 + _MAX_REDIRECTS):
                result = self._visit(target, file, deadline)
                if isinstance(result, Download):
                    yield result
                    return
                try:
                    target = self._guard.admit(result, hosts)
                except LinkForbidden as error:
                    raise LinkForbidden(f"{target} redirects to a forbidden place: {error}") from error
            raise DownloadError(f"{target}: redirected more than {_MAX_REDIRECTS} times")

    def close(self) -> None:
        """Close the connections that are kept for later."""
        self._connections.close()

    def _visit(self, target: Target, file: SpooledTemporaryFile[bytes], deadline: float) -> Download | str:
        """The download, or the link that the server redirects to."""
        with _translated(target), self._connections.get(target, self._headers, deadline) as response:
            if response.status in _REDIRECTS:
                return _redirected(target, response.getheader("Location", ""))
            self._check(target, response)
            return self._receive(target, response, file)

    def _check(self, target: Target, response: http.client.HTTPResponse) -> None:
        if response.status in _DEAD:
            raise LinkDead(f"{target}: HTTP {response.status}: the link has expired or the file is gone")
        if response.status != 200:
            raise DownloadError(f"{target}: HTTP {response.status} instead of the file")
        for header, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
            encoding = response.getheader(header, plain)
            if encoding.lower() != plain:
                raise ContentInvalid(f"{target}: came with {header} {encoding[:40]!r}; only plain bytes are accepted")
        if response.length is not None:
            self._check_size(target, response.length)

    def _check_size(self, target: Target, size: int) -> None:
        if size > self._limits.bytes:
            raise ContentInvalid(f"{target}: larger than the {self._limits.bytes:,} bytes that are accepted")

    def _receive(
        self, target: Target, response: http.client.HTTPResponse, file: SpooledTemporaryFile[bytes]
    ) -> Download:
        stated = response.length
        if stated is not None and stated > MEMORY_PART:
            file.rollover()
        piece = memoryview(bytearray(_PIECE if stated is None else min(_PIECE, stated)))
        digest = hashlib.sha256()
        received = 0
        while count := response.readinto(piece):
            received += count
            self._check_size(target, received)
            digest.update(piece[:count])
            file.write(piece[:count])
        if stated is not None and received != stated:
            raise ContentInvalid(f"{target}: truncated: {received:,} of {stated:,} bytes came")
        file.seek(0)
        return Download(file, digest.hexdigest(), received, response.getheader("Content-Type"))


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


def _tls_context() -> ssl.SSLContext:
    # The certificates that requests takes for the providers' APIs, so one setting opens both ways.
    name = next((name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)), None)
    bundle = Path(os.environ[name] if name else certifi.where())
    try:
        if bundle.is_dir():
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot read certificates from {bundle}: {error.strerror}") from error


def _user_agent() -> str:
    try:
        return f"Darkroom/{metadata.version('darkroom')}"
    except metadata.PackageNotFoundError:
        # run from a checkout that is not installed
        return "Darkroom"
