"""One put and its verification: a proxy on the way to the store may respond with success."""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import urllib3

from worker.archive.extras import Extras
from worker.archive.keeping import Extra, Upload
from worker.archive.objects import StoredAsset, Verified
from worker.archive.signed_requests import Body, SignedRequests, refusal
from worker.errors import ArchiveError

#: bytes per read
PIECE = 256 * 1024
#: the header with the store's own checksum
_CHECKSUM = "x-amz-checksum-sha256"


def put(requests: SignedRequests, extras: Extras, upload: Upload, file: Body, *, overwrite: bool) -> Verified | None:
    """Store the file; return None if the key is taken. Stores without `If-None-Match` overwrite the object.

    Raises ClientError, HTTPError, and ArchiveError if the object is missing although the store accepted it.
    """
    taken = send(requests, extras, upload, file, overwrite=overwrite)
    if taken is None:
        return None
    response, with_checksum = taken
    if with_checksum and is_answer_of_a_store(response):
        return Verified.CHECKSUM
    asset = upload.asset
    md5, sha256 = hashes_of(file)
    # A store that verifies the checksum would have refused the bytes.
    if sha256 != asset.sha256:
        raise ArchiveError(f'The bytes for "{asset.object_key}" changed while they were being stored')
    checksum = None if with_checksum else base64_of(sha256)
    return verified(requests, asset, checksum=checksum, md5=md5, told=response)


def send(
    requests: SignedRequests, extras: Extras, upload: Upload, file: Body, *, overwrite: bool
) -> tuple[urllib3.BaseHTTPResponse, bool] | None:
    """Return the store's unverified response, and whether it accepted a checksum; None if the key is taken."""
    asset = upload.asset
    headers = {**upload.headers, "Content-Length": str(asset.bytes)}
    optional = {**upload.optional, Extra.CHECKSUM: (_CHECKSUM, base64_of(asset.sha256))}
    if not overwrite:
        optional[Extra.CONDITION] = ("If-None-Match", "*")

    def attempt(chosen: frozenset[Extra]) -> tuple[urllib3.BaseHTTPResponse, bool] | None:
        sent = headers | dict(optional[extra] for extra in chosen)
        response = requests.send("PUT", asset.object_key, headers=sent, body=file, sha256=asset.sha256)
        if response.status == 412 and Extra.CONDITION in chosen:
            return None
        if response.status != 200:
            raise refusal(response, "PutObject")
        return response, Extra.CHECKSUM in chosen

    return extras.attempt(optional, attempt)


def is_answer_of_a_store(response: urllib3.BaseHTTPResponse) -> bool:
    """Return whether a success looks like S3's; a portal or proxy in between would return a web page."""
    return "ETag" in response.headers and not response.data.strip()


def verified(
    requests: SignedRequests,
    asset: StoredAsset,
    *,
    checksum: str | None,
    md5: str | None,
    told: urllib3.BaseHTTPResponse | None = None,
) -> Verified:
    """Verify that the object has these bytes: by its ETag, by the store's own checksum, or by reading it back.

    `checksum`: in S3's format, None if the store only repeats ours. Raises ArchiveError if none matches.

    """
    if md5 and told is not None and etag_of(told) == md5:
        return Verified.ETAG
    if md5 or checksum:
        head = requests.send("HEAD", asset.object_key, headers={"x-amz-checksum-mode": "ENABLED"})
        if md5 and etag_of(head) == md5:
            return Verified.ETAG
        if checksum and head.headers.get(_CHECKSUM) == checksum:
            return Verified.HEAD
    there = hash_of(requests, asset.object_key)
    if there == asset.sha256:
        return Verified.BYTES
    found = "there is no such object" if there is None else f"its bytes have SHA-256 {there}, not {asset.sha256}"
    raise ArchiveError(f'the store reported success for "{asset.object_key}", but {found}')


def hash_of(requests: SignedRequests, key: str) -> str | None:
    """Read the whole object and return its SHA-256; None if there is no object."""
    digest = hashlib.sha256()
    with reading(requests, key) as pieces:
        if pieces is None:
            return None
        for piece in pieces:
            digest.update(piece)
    return digest.hexdigest()


@contextmanager
def reading(requests: SignedRequests, key: str) -> Iterator[Iterator[bytes] | None]:
    """Yield the bytes of an object in small pieces; None if there is no object."""
    response = requests.send("GET", key, stream=True)
    try:
        if response.status == 200:
            yield response.stream(PIECE, decode_content=False)
        else:
            error = refusal(response, "GetObject")
            if error.response["Error"]["Code"] not in {"NoSuchKey", "404"}:
                raise error
            yield None
    finally:
        response.close()


def hashes_of(file: Body) -> tuple[str, str]:
    """Return a file's MD5, which most stores use as the ETag, and its SHA-256."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    file.seek(0)
    while piece := file.read(PIECE):
        md5.update(piece)
        sha256.update(piece)
    return md5.hexdigest(), sha256.hexdigest()


def etag_of(response: urllib3.BaseHTTPResponse) -> str:
    """Return the ETag as a plain hash; empty if there is none."""
    # A compressing proxy marks the ETag as weak.
    return response.headers.get("ETag", "").removeprefix("W/").strip('"').lower()


def base64_of(sha256: str) -> str:
    """Return a hexadecimal hash in the format of S3's headers."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()
