"""The archive in any S3 store: Amazon's, or another one behind AWS_ENDPOINT_URL. The only place that talks to S3."""

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from urllib3.exceptions import HTTPError

from worker.archive.advice import explained
from worker.archive.client import connect
from worker.archive.keeping import Keeping, Upload
from worker.archive.keys import Keys
from worker.archive.multipart import LARGE, put_in_parts
from worker.archive.objects import Listed, StoredAsset, Verdict
from worker.archive.probe import Probe
from worker.archive.puts import Extras, put
from worker.archive.signed_requests import SignedRequests, refusal
from worker.errors import ArchiveConflict, ArchiveError, ConfigurationError, NotFound

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: bytes read at once
_PIECE = 256 * 1024


class S3Archive:
    """An Archive. Make one per process: its client takes 100 ms to build, and threads share its connections."""

    def __init__(
        self,
        bucket: str,
        keys: Keys | None = None,
        keeping: Keeping | None = None,
        client: "S3Client | None" = None,
    ) -> None:
        self.bucket = bucket
        self.keys = keys or Keys()
        self._keeping = keeping or Keeping()
        self._extras = Extras()
        session = Session()
        try:
            self._client = client or connect(session)
            self._endpoint = self._client.meta.endpoint_url
            self._requests = SignedRequests(session, self._client, bucket)
        except (BotoCoreError, ValueError) as error:
            # ValueError is how boto3 refuses an endpoint that is no URL.
            raise ConfigurationError(f"The AWS_* settings do not make an S3 client: {error}") from error

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
        asset = StoredAsset(key, sha256, size, content_type)
        upload = self._keeping.picture(asset, metadata, filename, tags)
        with self._errors(key):
            if replace:
                self._put(upload, file, overwrite=True)
                return asset
            # What takes long is not sent in vain, and not over other bytes where only small puts honour a condition.
            there = self._known_hash(key) if size > LARGE else None
            if there is None:
                if self._put(upload, file, overwrite=False):
                    return asset
                there = self._known_hash(key)
        if there is None:
            raise ArchiveError(f'"{key}" in bucket "{self.bucket}" was deleted while it was being stored')
        if there != sha256:
            raise ArchiveConflict(
                f'Other bytes lie under "{key}" in bucket "{self.bucket}": SHA-256 {there}, not {sha256}'
            )
        return asset

    def overwrite(self, key: str, content: bytes, *, content_type: str, metadata: Mapping[str, str]) -> StoredAsset:
        asset = StoredAsset(key, hashlib.sha256(content).hexdigest(), len(content), content_type)
        upload = self._keeping.note(asset, metadata)
        with self._errors(key):
            put(self._requests, self._extras, upload, io.BytesIO(content), overwrite=True)
        return asset

    def url(self, key: str, *, expires: timedelta = timedelta(hours=1)) -> str:
        params = {"Bucket": self.bucket, "Key": key}
        with self._errors(key):
            return self._client.generate_presigned_url("get_object", params, int(expires.total_seconds()))

    def delete(self, key: str, sha256: str | None = None) -> None:
        with self._errors(key):
            if sha256 is not None and self._known_hash(key) != sha256:
                return
            response = self._requests.send("DELETE", key)
            if response.status not in {200, 204, 404}:
                raise refusal(response, "DeleteObject")

    def verify(self, key: str, sha256: str) -> Verdict:
        try:
            there = self._read_hash(key)
        except NotFound:
            return Verdict.MISSING
        return Verdict.INTACT if there == sha256 else Verdict.CHANGED

    def list(self, prefix: str) -> Iterator[Listed]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        with self._errors():
            for page in pages:
                yield from (Listed(found["Key"], found["Size"]) for found in page.get("Contents", ()))

    @contextmanager
    def read(self, key: str) -> Iterator[Iterator[bytes]]:
        with self._errors(key):
            response = self._requests.send("GET", key, stream=True)
            try:
                if response.status != 200:
                    raise refusal(response, "GetObject")
                yield response.stream(_PIECE, decode_content=False)
            finally:
                response.close()

    def check(self) -> None:
        try:
            with self._errors():
                region = self._client.head_bucket(Bucket=self.bucket).get("BucketRegion")
        except ArchiveError as error:
            raise ConfigurationError(f"{error}; check AWS_ENDPOINT_URL, and that the store is up") from error
        # boto3 follows Amazon from region to region, but a signed put cannot. Other stores call their region anything.
        if region and region != self._client.meta.region_name and self._endpoint.endswith(".amazonaws.com"):
            raise ConfigurationError(f'Bucket "{self.bucket}" is in region {region}: set AWS_DEFAULT_REGION={region}')

    def probe(self) -> Sequence[str]:
        folder = f"{self.keys.prefix}/" if self.keys.prefix else ""
        probe = Probe(self._requests, self._extras, self._keeping, folder)
        with self._errors(probe.key):
            return probe.shortcomings()

    def close(self) -> None:
        self._requests.close()
        self._client.close()

    def _put(self, upload: Upload, file: IO[bytes], *, overwrite: bool) -> bool:
        send = put_in_parts if upload.asset.bytes > LARGE else put
        return send(self._requests, self._extras, upload, file, overwrite=overwrite)

    def _known_hash(self, key: str) -> str | None:
        """The hash that `_put` wrote down beside the object, else that of its bytes; None if there is no object."""
        try:
            found = self._client.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return None
            raise
        # Some stores change the case of the names.
        known = {name.lower(): value for name, value in found["Metadata"].items()}
        try:
            return known.get("sha256") or self._read_hash(key)
        except NotFound:
            return None

    def _read_hash(self, key: str) -> str:
        digest = hashlib.sha256()
        with self.read(key) as pieces:
            for piece in pieces:
                digest.update(piece)
        return digest.hexdigest()

    @contextmanager
    def _errors(self, key: str | None = None) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, HTTPError) as error:
            if isinstance(error, ClientError) and error.response["Error"]["Code"] == "NoSuchKey":
                raise NotFound(f'Nothing lies under "{key}" in bucket "{self.bucket}"') from error
            raise explained(error, self.bucket, self._endpoint, key) from error
