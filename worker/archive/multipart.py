"""A large file in parts: a line that breaks costs one part, and a store need not hold all of it at once."""

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from xml.sax.saxutils import escape, unescape

import urllib3
from urllib3.exceptions import HTTPError

from worker.archive.keeping import Upload
from worker.archive.puts import Extra, Extras, base64_of
from worker.archive.signed_requests import NOTHING, Body, SignedRequests, refusal
from worker.errors import ArchiveError

#: bytes; what is larger goes in parts
LARGE = 16 * 1024 * 1024
#: bytes; all parts but the last are equal, as some stores demand
PART = 8 * 1024 * 1024
_PIECE = 256 * 1024
#: the answers to a completion after which somebody else's object lies there, or ours whose answer was lost
_THERE = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchUpload"})


def put_in_parts(requests: SignedRequests, extras: Extras, upload: Upload, file: Body, *, overwrite: bool) -> bool:
    """False if something lies there already; stores that know no conditional completion overwrite it all the same.

    Whatever goes wrong, no parts are left. Raises ArchiveError if the file is not what its hash says.
    """
    ours = _Parts(requests, extras, upload)
    done = False
    try:
        done = ours.complete(ours.send(file), overwrite=overwrite)
    finally:
        if not done:
            # A store that does not answer keeps them; the bucket's own rule for unfinished uploads clears them away.
            with suppress(HTTPError):
                ours.abort()
    return done


class _Parts:
    """One upload under way."""

    def __init__(self, requests: SignedRequests, extras: Extras, upload: Upload) -> None:
        self._requests, self._extras, self._asset = requests, extras, upload.asset
        optional = {Extra.CHECKSUM: ("x-amz-checksum-algorithm", "SHA256")}
        if upload.tags:
            optional[Extra.TAGS] = ("x-amz-tagging", upload.tags)

        def create(chosen: frozenset[Extra]) -> tuple[str, bool]:
            headers = {**upload.headers, **dict(optional[extra] for extra in chosen)}
            response = requests.send("POST", self._asset.key, query={"uploads": ""}, headers=headers)
            upload_id = re.search(rb"<UploadId>([^<]+)</UploadId>", response.data)
            if response.status != 200 or upload_id is None:
                raise refusal(response, "CreateMultipartUpload")
            return unescape(upload_id[1].decode()), Extra.CHECKSUM in chosen

        self._id, self._with_checksums = extras.attempt(optional, create)

    def send(self, file: Body) -> list[tuple[str, str]]:
        """Each part's ETag and SHA-256 in base64."""
        whole = hashlib.sha256()
        sent = []
        for number, start in enumerate(range(0, self._asset.bytes, PART), start=1):
            part = _Part(file, start, min(PART, self._asset.bytes - start))
            digest = hashlib.sha256()
            # Read twice instead of held in memory.
            for piece in part.pieces():
                digest.update(piece)
                whole.update(piece)
            sent.append((self._send_part(number, part, digest.hexdigest()), base64_of(digest.hexdigest())))
        # The store checks each part, but nobody else the whole.
        if whole.hexdigest() != self._asset.sha256:
            raise ArchiveError(f'The bytes for "{self._asset.key}" changed while they were being stored')
        return sent

    def _send_part(self, number: int, part: "_Part", sha256: str) -> str:
        headers = {"Content-Length": str(part.size)}
        if self._with_checksums:
            headers["x-amz-checksum-sha256"] = base64_of(sha256)
        response = self._ask("PUT", {"partNumber": str(number)}, headers, part, sha256)
        etag = response.headers.get("ETag")
        if response.status != 200 or etag is None:
            raise refusal(response, "UploadPart")
        return etag

    def complete(self, parts: list[tuple[str, str]], *, overwrite: bool) -> bool:
        body = self._manifest(parts).encode()
        optional = {} if overwrite else {Extra.CONDITION: ("If-None-Match", "*")}

        def send(chosen: frozenset[Extra]) -> bool:
            headers = {"Content-Length": str(len(body)), **dict(optional[extra] for extra in chosen)}
            response = self._ask("POST", {}, headers, io.BytesIO(body), hashlib.sha256(body).hexdigest())
            # Amazon begins its answer before it is done, so an error may come with status 200.
            if response.status == 200 and b"<Error>" not in response.data:
                return True
            error = refusal(response, "CompleteMultipartUpload")
            if error.response["Error"]["Code"] in _THERE:
                return False
            raise error

        return self._extras.attempt(optional, send)

    def abort(self) -> None:
        self._ask("DELETE", {}, {})

    def _manifest(self, parts: list[tuple[str, str]]) -> str:
        root = '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        for number, (etag, checksum) in enumerate(parts, start=1):
            root += f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag>"
            if self._with_checksums:
                root += f"<ChecksumSHA256>{checksum}</ChecksumSHA256>"
            root += "</Part>"
        return f"{root}</CompleteMultipartUpload>"

    def _ask(
        self,
        method: str,
        query: dict[str, str],
        headers: dict[str, str],
        body: Body | None = None,
        sha256: str = NOTHING,
    ) -> urllib3.BaseHTTPResponse:
        query = {**query, "uploadId": self._id}
        return self._requests.send(method, self._asset.key, query=query, headers=headers, body=body, sha256=sha256)


class _Part:
    """A part of a file that reads like a file of its own."""

    def __init__(self, file: Body, start: int, size: int) -> None:
        self._file, self._start, self.size = file, start, size
        self._at = 0

    def seek(self, offset: int, /) -> int:
        self._file.seek(self._start + offset)
        self._at = offset
        return offset

    def read(self, size: int = -1, /) -> bytes:
        left = self.size - self._at
        piece = self._file.read(left if size < 0 else min(size, left))
        self._at += len(piece)
        return piece

    def pieces(self) -> Iterator[bytes]:
        self.seek(0)
        while piece := self.read(_PIECE):
            yield piece
