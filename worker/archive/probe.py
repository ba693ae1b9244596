"""Finds out what a store supports, with an object that it deletes afterwards."""

import hashlib
import io
import secrets
from collections.abc import Iterator

from botocore.exceptions import ClientError

from worker.archive.extras import Extras
from worker.archive.keeping import Extra, Keeping, Upload
from worker.archive.multipart import put_in_parts
from worker.archive.objects import StoredAsset, StoreLimit, Verified
from worker.archive.puts import put, send
from worker.archive.signed_requests import SignedRequests, refusal
from worker.errors import ConfigurationError

_CONTENT = b"Darkroom looks what this store can do, and deletes this at once.\n"
_OTHER = b"These bytes must not replace what lies there.\n"
#: what is done without a checksum, by what has shown that the first object arrived
_INSTEAD = {
    Verified.ETAG: "each is compared by its ETag, which is the MD5, instead",
    Verified.HEAD: "each is compared by the checksum that the store reports afterwards",
    Verified.BYTES: "each is read back after it is stored, which takes longer",
}


class Probe:
    """Puts, reads and deletes one object. Raises ClientError or HTTPError if an asset could not be stored."""

    def __init__(self, requests: SignedRequests, extras: Extras, keeping: Keeping, folder: str) -> None:
        self._requests, self._extras, self._keeping = requests, extras, keeping
        self._verified = Verified.CHECKSUM
        self.key = f"{folder}probe-{secrets.token_hex(8)}"

    def shortcomings(self) -> list[str]:
        """Return what the store does not support, in sentences that continue after the bucket's name."""
        try:
            found = list(self._look())
        finally:
            left = self._delete()
        return found + left

    def _look(self) -> Iterator[str]:
        self._put(_CONTENT, overwrite=True)
        if self._read() != _CONTENT:
            raise ConfigurationError(f'"{self.key}" came back with different bytes: use another store')
        for _ in self._extras.doubtful:
            # Probe one by one which of them the store refuses.
            self._put(_CONTENT, overwrite=True)
        if self._keeping.tags and not self._tags_are_kept():
            yield "does not keep tags: set S3_TAGS=false to send none"
        if self._keeping.storage_class and Extra.STORAGE_CLASS in self._extras.refused:
            name = self._keeping.storage_class
            yield f"refuses the storage class {name}: correct S3_STORAGE_CLASS, or leave it empty"
        if Extra.CHECKSUM in self._extras.refused:
            instead = _INSTEAD.get(self._verified, _INSTEAD[Verified.BYTES])
            yield StoreLimit(f"does not accept a SHA-256 with an object: {instead}")
        elif not self._broken_bytes_are_refused():
            yield StoreLimit(
                "accepts bytes that do not match their SHA-256: only `darkroom verify` finds damage in transit"
            )
        self._put(_CONTENT, overwrite=True)
        if self._put(_OTHER, overwrite=False):
            yield StoreLimit(
                "overwrites an existing object despite If-None-Match: "
                "never share a bucket and S3_PREFIX between two Darkrooms"
            )
        yield from self._look_at_parts()

    def _look_at_parts(self) -> Iterator[str]:
        try:
            overwritten = put_in_parts(
                self._requests, self._extras, self._upload(_OTHER), io.BytesIO(_OTHER), overwrite=False
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            yield f"does not accept multipart uploads ({code}): files above 16 MiB cannot be stored"
        else:
            if overwritten:
                yield StoreLimit(
                    "completes multipart uploads unconditionally: files above 16 MiB are compared beforehand instead"
                )

    def _upload(self, content: bytes) -> Upload:
        asset = StoredAsset(
            object_key=self.key,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            content_type="text/plain",
        )
        return self._keeping.picture(asset, {}, "probe.txt", {"generation": "probe"})

    def _put(self, content: bytes, *, overwrite: bool) -> bool:
        upload = self._upload(content)
        verified = put(self._requests, self._extras, upload, io.BytesIO(content), overwrite=overwrite)
        self._verified = verified or self._verified
        return verified is not None

    def _read(self) -> bytes:
        response = self._requests.send("GET", self.key)
        if response.status != 200:
            raise refusal(response, "GetObject")
        return response.data

    def _tags_are_kept(self) -> bool:
        if Extra.TAGS in self._extras.refused:
            return False
        response = self._requests.send("GET", self.key, query={"tagging": ""})
        # Reading tags needs a separate grant, which nothing else needs.
        return response.status == 403 or b"<Key>generation</Key>" in response.data

    def _broken_bytes_are_refused(self) -> bool:
        broken = io.BytesIO(_CONTENT.swapcase())
        try:
            send(self._requests, self._extras, self._upload(_CONTENT), broken, overwrite=True)
        except ClientError:
            return True
        return self._read() == _CONTENT

    def _delete(self) -> list[str]:
        response = self._requests.send("DELETE", self.key)
        if response.status not in {200, 204}:
            code = refusal(response, "DeleteObject").response["Error"]["Code"]
            return [f"did not delete {self.key} ({code}): delete it"]
        if self._requests.send("GET", self.key).status == 200:
            return [f"reports {self.key} as deleted, but still returns it: delete it"]
        return []
