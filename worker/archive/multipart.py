"""Uploads a large file in parts, so that a broken connection costs only one part."""

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from xml.sax.saxutils import escape, unescape

import urllib3
from urllib3.exceptions import HTTPError

from worker.archive.extras import Extras
from worker.archive.keeping import Extra, Upload
from worker.archive.objects import StoredAsset, Verified
from worker.archive.puts import PIECE, base64_of, etag_of, hashes_of, is_answer_of_a_store, verified
from worker.archive.signed_requests import NOTHING, Body, SignedRequests, refusal
from worker.errors import ArchiveError

#: bytes; larger files are sent in parts
LARGE = 16 * 1024 * 1024
#: bytes; all parts but the last have this size, as some stores require
PART = 8 * 1024 * 1024
#: error codes of a completion after which the key holds another object, or ours if an earlier response was lost
_THERE = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchUpload"})


def put_in_parts(
    requests: SignedRequests, extras: Extras, upload: Upload, file: Body, *, overwrite: bool
) -> Verified | None:
    """Return None if the key is taken; stores without conditional completion overwrite the object.

    Removes the parts after any failure. Raises ArchiveError if the file does not match its hash, or if the object is
    missing although the store reported completion.
    """
    ours = _begun(requests, extras, upload, file)
    done = False
    try:
        ours.send_rest()
        done = ours.complete(extras, overwrite=overwrite)
    finally:
        if not done:
            ours.abort()
    return ours.verified() if done else None


def _begun(requests: SignedRequests, extras: Extras, upload: Upload, file: Body) -> "_Parts":
    """Start an upload and send its first part, which shows whether the store accepts part checksums."""
    optional = {**upload.optional, Extra.CHECKSUM: ("x-amz-checksum-algorithm", "SHA256")}

    def begin(chosen: frozenset[Extra]) -> _Parts:
        headers = {**upload.headers, **dict(optional[extra] for extra in chosen)}
        response = requests.send("POST", upload.asset.object_key, query={"uploads": ""}, headers=headers)
        upload_id = re.search(rb"<UploadId>([^<]+)</UploadId>", response.data)
        if response.status != 200 or upload_id is None:
            raise refusal(response, "CreateMultipartUpload")
        ours = _Parts(requests, upload.asset, file, unescape(upload_id[1].decode()), Extra.CHECKSUM in chosen)
        try:
            ours.send_next()
        except BaseException:
            ours.abort()
            raise
        return ours

    return extras.attempt(optional, begin)


@dataclass(frozen=True, slots=True)
class _Sent:
    """A stored part."""

    etag: str
    sha256: str
    verified: Verified | None


class _Parts:
    """One upload in progress."""

    def __init__(
        self, requests: SignedRequests, asset: StoredAsset, file: Body, upload_id: str, with_checksums: bool
    ) -> None:
        self._requests, self._asset, self._file = requests, asset, file
        self._id, self._with_checksums = upload_id, with_checksums
        self._whole = hashlib.sha256()
        self._sent: list[_Sent] = []
        self._is_confirmed = False

    def send_rest(self) -> None:
        while len(self._sent) * PART < self._asset.bytes:
            self.send_next()
        # The store checks each part, but nothing else checks the whole file.
        if self._whole.hexdigest() != self._asset.sha256:
            raise ArchiveError(f'The bytes for "{self._asset.object_key}" changed while they were being stored')

    def send_next(self) -> None:
        start = len(self._sent) * PART
        part = _Part(self._file, start, min(PART, self._asset.bytes - start))
        digest = hashlib.sha256()
        # Read twice rather than hold it in memory.
        for piece in part.pieces():
            digest.update(piece)
            self._whole.update(piece)
        headers = {"Content-Length": str(part.size)}
        if self._with_checksums:
            headers["x-amz-checksum-sha256"] = base64_of(digest.hexdigest())
        response = self._ask("PUT", {"partNumber": str(len(self._sent) + 1)}, headers, part, digest.hexdigest())
        etag = response.headers.get("ETag")
        if response.status != 200 or etag is None:
            raise refusal(response, "UploadPart")
        how = None
        if self._with_checksums and is_answer_of_a_store(response):
            how = Verified.CHECKSUM
        elif etag_of(response) == hashes_of(part)[0]:
            how = Verified.ETAG
        self._sent.append(_Sent(etag, digest.hexdigest(), how))

    def complete(self, extras: Extras, *, overwrite: bool) -> bool:
        body = self._manifest().encode()
        optional = {} if overwrite else {Extra.CONDITION: ("If-None-Match", "*")}

        def send(chosen: frozenset[Extra]) -> bool:
            headers = {"Content-Length": str(len(body)), **dict(optional[extra] for extra in chosen)}
            response = self._ask("POST", {}, headers, io.BytesIO(body), hashlib.sha256(body).hexdigest())
            # Amazon starts its response before it has finished, so an error may have status 200.
            if response.status == 200 and b"<Error>" not in response.data:
                self._is_confirmed = b"<CompleteMultipartUploadResult" in response.data
                return True
            error = refusal(response, "CompleteMultipartUpload")
            if error.response["Error"]["Code"] in _THERE:
                return False
            raise error

        return extras.attempt(optional, send)

    def verified(self) -> Verified:
        """Verify that the completed object has the file's bytes, and return how."""
        ways = {part.verified for part in self._sent}
        if self._is_confirmed and None not in ways:
            return Verified.ETAG if Verified.ETAG in ways else Verified.CHECKSUM
        return verified(self._requests, self._asset, checksum=None, md5=None)

    def abort(self) -> None:
        # If the store does not respond, the parts stay until the bucket's lifecycle rule for such uploads removes them.
        with suppress(HTTPError):
            self._ask("DELETE", {}, {})

    def _manifest(self) -> str:
        root = '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        for number, part in enumerate(self._sent, start=1):
            root += f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(part.etag)}</ETag>"
            if self._with_checksums:
                root += f"<ChecksumSHA256>{base64_of(part.sha256)}</ChecksumSHA256>"
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
        return self._requests.send(
            method, self._asset.object_key, query=query, headers=headers, body=body, sha256=sha256
        )


class _Part:
    """A part of a file, readable like a file."""

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
        while piece := self.read(PIECE):
            yield piece
