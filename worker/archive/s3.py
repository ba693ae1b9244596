"""The archive in any S3 store: Amazon's, or another one via AWS_ENDPOINT_URL. Only this module talks to S3."""

import dataclasses
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import create_parser
from botocore.session import Session
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError

from worker.archive.advice import explained
from worker.archive.client import Addresses
from worker.archive.extras import Extras
from worker.archive.keeping import Addressing, Keeping, Upload
from worker.archive.keys import Keys
from worker.archive.multipart import LARGE, put_in_parts
from worker.archive.objects import Listed, StoredAsset, Verdict, Verified
from worker.archive.probe import Probe
from worker.archive.puts import hash_of, put, reading
from worker.archive.signed_requests import ONE_KEY, SignedRequests, refusal
from worker.errors import ArchiveConflict, ArchiveError, ConfigurationError, NotFound

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_WANTS_VIRTUAL = (
    "does not accept addresses with its name in the path: set S3_ADDRESSING=virtual; until then each process learns"
    " this from one refusal, and links made before that do not work"
)
#: how headers with an object's metadata begin
_METADATA = "x-amz-meta-"


class S3Archive:
    """An Archive. Make one per process: its client takes 100 ms to build, and threads share its connections."""

    def __init__(
        self,
        bucket: str,
        keys: Keys | None = None,
        keeping: Keeping | None = None,
        client: "S3Client | None" = None,
        addressing: Addressing = "auto",
    ) -> None:
        self.bucket = bucket
        self.keys = keys or Keys()
        self._keeping = keeping or Keeping()
        self._extras = Extras()
        session = Session()
        try:
            self._addresses = Addresses(session, bucket, addressing, client)
            self._client = self._addresses.client
            self._endpoint = self._client.meta.endpoint_url
            self._requests = SignedRequests(session, self._addresses)
        except (BotoCoreError, ValueError) as error:
            # boto3 raises ValueError for an invalid endpoint URL.
            raise ConfigurationError(f"the AWS_* settings are not valid: {error}") from error

    def store(
        self,
        key: str,
        file: IO[bytes],
        *,
        sha256: str,
        size: int,
        content_type: str,
        metadata: Mapping[str, str],
        filename: str,
        tags: Mapping[str, str],
        replace: bool = False,
    ) -> StoredAsset:
        asset = StoredAsset(object_key=key, sha256=sha256, bytes=size, content_type=content_type)
        upload = self._keeping.picture(asset, metadata, filename, tags)
        with self._errors(key):
            # Avoids long uploads in vain, and overwriting where only small puts honour a condition.
            there = hash_of(self._requests, key) if size > LARGE and not replace else None
            if there is None:
                if verified := self._put(upload, file, overwrite=replace):
                    return dataclasses.replace(asset, verified=verified)
                # The object's metadata is not trusted: it may be an older object's, or anybody's.
                there = hash_of(self._requests, key)
        if there is None:
            raise ArchiveError(f'"{key}" in bucket "{self.bucket}" was deleted while it was being stored')
        if there != sha256:
            raise ArchiveConflict(
                f'"{key}" in bucket "{self.bucket}" has different bytes: SHA-256 {there}, not {sha256}; move that '
                "object elsewhere so that these bytes can be stored"
            )
        return dataclasses.replace(asset, verified=Verified.BYTES)

    def overwrite(self, key: str, content: bytes, *, content_type: str, metadata: Mapping[str, str]) -> StoredAsset:
        asset = StoredAsset(
            object_key=key, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), content_type=content_type
        )
        upload = self._keeping.note(asset, metadata)
        with self._errors(key):
            verified = put(self._requests, self._extras, upload, io.BytesIO(content), overwrite=True)
        return dataclasses.replace(asset, verified=verified)

    def url(self, key: str, *, expires: timedelta = timedelta(hours=1)) -> str:
        params = {"Bucket": self.bucket, "Key": key}
        with self._errors(key):
            return self._addresses.client.generate_presigned_url("get_object", params, int(expires.total_seconds()))

    def delete(self, key: str, sha256: str | None = None) -> None:
        with self._errors(key):
            if sha256 is not None and self._recorded_hash(key) != sha256:
                return
            response = self._requests.send("DELETE", key)
            if response.status not in {200, 204, 404}:
                raise refusal(response, "DeleteObject")

    def verify(self, key: str, sha256: str) -> Verdict:
        with self._errors(key):
            there = hash_of(self._requests, key)
        if there is None:
            return Verdict.MISSING
        return Verdict.INTACT if there == sha256 else Verdict.CHANGED

    def list(self, prefix: str) -> Iterator[Listed]:
        query = {"list-type": "2", "encoding-type": "url", "prefix": prefix}
        with self._errors():
            while True:
                response = self._requests.send("GET", "", query=query)
                if response.status != 200:
                    raise refusal(response, "ListObjectsV2")
                page = self._parsed(response)
                plain = unquote_plus if page.get("EncodingType") == "url" else str
                yield from (Listed(plain(found["Key"]), found["Size"]) for found in page.get("Contents", ()))
                if not page.get("IsTruncated"):
                    return
                query["continuation-token"] = page["NextContinuationToken"]

    @contextmanager
    def read(self, key: str) -> Iterator[Iterator[bytes]]:
        with self._errors(key), reading(self._requests, key) as pieces:
            if pieces is None:
                raise self._not_found(key)
            yield pieces

    def metadata(self, key: str) -> Mapping[str, str]:
        with self._errors(key):
            found = self._metadata(key)
        if found is None:
            raise self._not_found(key)
        return found

    def check(self) -> None:
        try:
            with self._errors():
                answer = self._requests.send("HEAD", "")
                region = answer.headers.get("x-amz-bucket-region")
                self._check_region(region)
                # A refused HEAD has no body with a reason; a listing has one.
                if answer.status != 200:
                    answer = self._requests.send("GET", "", query=ONE_KEY)
                if answer.status != 200:
                    raise refusal(answer, "HeadBucket")
        except ArchiveError as error:
            raise ConfigurationError(f"{error}; check AWS_ENDPOINT_URL, and that the store is up") from error

    def _check_region(self, region: str | None) -> None:
        # A signed put is not redirected. Stores other than Amazon's use arbitrary region names.
        if region and region != self._client.meta.region_name and self._endpoint.endswith(".amazonaws.com"):
            raise ConfigurationError(f'Bucket "{self.bucket}" is in region {region}: set AWS_DEFAULT_REGION={region}')

    def probe(self) -> Sequence[str]:
        folder = f"{self.keys.prefix}/" if self.keys.prefix else ""
        probe = Probe(self._requests, self._extras, self._keeping, folder)
        with self._errors(probe.key):
            shortcomings = probe.shortcomings()
        if self._addresses.has_changed:
            shortcomings.append(_WANTS_VIRTUAL)
        return shortcomings

    def close(self) -> None:
        self._requests.close()
        self._client.close()

    def _put(self, upload: Upload, file: IO[bytes], *, overwrite: bool) -> Verified | None:
        send = put_in_parts if upload.asset.bytes > LARGE else put
        return send(self._requests, self._extras, upload, file, overwrite=overwrite)

    def _recorded_hash(self, key: str) -> str | None:
        """Return the hash in the object's metadata, else the hash of its bytes; None if there is no object."""
        found = self._metadata(key)
        return None if found is None else found.get("sha256") or hash_of(self._requests, key)

    def _metadata(self, key: str) -> Mapping[str, str] | None:
        head = self._requests.send("HEAD", key)
        if head.status == 404:
            return None
        if head.status != 200:
            raise refusal(head, "HeadObject")
        named = ((name.lower(), value) for name, value in head.headers.items())
        return {name.removeprefix(_METADATA): value for name, value in named if name.startswith(_METADATA)}

    def _not_found(self, key: str) -> NotFound:
        return NotFound(f'there is no "{key}" in bucket "{self.bucket}"')

    def _parsed(self, response: BaseHTTPResponse) -> Any:
        shape: Any = self._client.meta.service_model.operation_model("ListObjectsV2").output_shape
        answer = {"status_code": response.status, "headers": response.headers, "body": response.data}
        return create_parser("rest-xml").parse(answer, shape)

    @contextmanager
    def _errors(self, key: str | None = None) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, HTTPError) as error:
            raise explained(error, self.bucket, self._endpoint, key) from error
