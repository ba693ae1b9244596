"""The archive in any S3 store: Amazon's, or another one behind AWS_ENDPOINT_URL. The only place that talks to S3."""

import base64
import hashlib
import io
import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any

import boto3
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.session import Session
from botocore.utils import get_environ_proxies
from urllib3.exceptions import HTTPError

from worker.archive import StoredAsset, Verdict
from worker.archive.put_signer import PutSigner
from worker.errors import ArchiveConflict, ArchiveError, ConfigurationError, DarkroomError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: seconds
_CONNECT_TIMEOUT, _READ_TIMEOUT = 3, 15
_ATTEMPTS = 3
_CONNECTIONS = 20
#: bytes sent at once, which must leave within the connect timeout on a slow line too; and read at once
_BLOCK, _PIECE = 64 * 1024, 256 * 1024
#: HTTP statuses; 409 answers a conditional put while another one to the same key is under way
_WORTH_REPEATING = frozenset({409, 429, 500, 502, 503, 504})

_GRANT = "allow these credentials s3:GetObject, s3:PutObject and s3:ListBucket"
_REGION = "the bucket is in another region, so set AWS_DEFAULT_REGION to that"
#: what a person should do, by S3's error code
_ADVICE = {
    "NoSuchBucket": "create the bucket, or correct S3_BUCKET",
    "InvalidAccessKeyId": "correct AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "renew the credentials and AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "AccessDenied": _GRANT,
    # The answer to a HEAD has no body to name a code; boto3 gives the status instead.
    "403": f"correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or {_GRANT}",
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "AuthorizationQueryParametersError": _REGION,
}


class S3Archive:
    """An Archive. Make one per process: its client takes 100 ms to build, and threads share its connections.

    A put is signed by botocore and streamed by urllib3: boto3's `put_object` takes twice the CPU, and over plain http
    it hashes the body once more to sign it, where our signature covers the SHA-256 that we know.
    """

    def __init__(self, bucket: str, prefix: str = "", client: "S3Client | None" = None) -> None:
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        if self.prefix and not {"", ".", ".."}.isdisjoint(self.prefix.split("/")):
            raise ConfigurationError(f'S3_PREFIX "{prefix}" has an empty part, "." or "..": use plain names')
        self._session = Session()
        try:
            self._client = client or _connect(self._session)
            self._endpoint = self._client.meta.endpoint_url
            self._http = _transport(self._endpoint, self._session)
        except (BotoCoreError, ValueError) as error:
            # ValueError is how boto3 refuses an endpoint that is no URL.
            raise ConfigurationError(f"The AWS_* settings do not make an S3 client: {error}") from error

    @cached_property
    def _signer(self) -> PutSigner:
        # On the first put: a client without credentials is told so there, as it is by every other verb.
        return PutSigner(self._session, self._client, self.bucket)

    def store(
        self, key: str, file: IO[bytes], *, sha256: str, size: int, content_type: str, metadata: Mapping[str, str]
    ) -> StoredAsset:
        asset = StoredAsset(key, sha256, size, content_type)
        with self._errors(key):
            if self._put(asset, file, metadata, overwrite=False):
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
        with self._errors(key):
            self._put(asset, io.BytesIO(content), metadata, overwrite=True)
        return asset

    def url(self, key: str, *, expires: timedelta = timedelta(hours=1)) -> str:
        params = {"Bucket": self.bucket, "Key": key}
        with self._errors(key):
            return self._client.generate_presigned_url("get_object", params, int(expires.total_seconds()))

    def verify(self, key: str, sha256: str) -> Verdict:
        with self._errors(key):
            there = self._read_hash(key)
        if there is None:
            return Verdict.MISSING
        return Verdict.INTACT if there == sha256 else Verdict.CHANGED

    def check(self) -> None:
        try:
            with self._errors():
                region = self._client.head_bucket(Bucket=self.bucket).get("BucketRegion")
        except ArchiveError as error:
            raise ConfigurationError(f"{error}; check AWS_ENDPOINT_URL, and that the store is up") from error
        # boto3 follows Amazon from region to region, but a signed put cannot. Other stores call their region anything.
        if region and region != self._client.meta.region_name and self._endpoint.endswith(".amazonaws.com"):
            raise ConfigurationError(f'Bucket "{self.bucket}" is in region {region}: set AWS_DEFAULT_REGION={region}')

    def close(self) -> None:
        self._http.clear()
        self._client.close()

    def _put(self, asset: StoredAsset, file: IO[bytes], metadata: Mapping[str, str], *, overwrite: bool) -> bool:
        """False if something lies there already; stores that know no `If-None-Match` overwrite it all the same."""
        metadata = {**metadata, "sha256": asset.sha256}
        checksum = base64.b64encode(bytes.fromhex(asset.sha256)).decode()
        headers = {
            "Content-Length": str(asset.bytes),
            "Content-Type": asset.content_type,
            "x-amz-checksum-sha256": checksum,
            **{f"x-amz-meta-{name}": value for name, value in metadata.items()},
        }
        if not overwrite:
            headers["If-None-Match"] = "*"
        url, headers = self._signer.sign(asset.key, headers, asset.sha256)
        response = self._send(url, headers, file)
        if response.status not in {200, 412}:
            code = re.search(rb"<Code>(\w+)</Code>", response.data)
            raise ClientError({"Error": {"Code": code[1].decode() if code else str(response.status)}}, "PutObject")
        return response.status == 200

    def _send(self, url: str, headers: Mapping[str, str], file: IO[bytes]) -> urllib3.BaseHTTPResponse:
        attempt = 1
        while True:
            file.seek(0)
            try:
                # urllib3 would log the signed link when it repeats or redirects by itself.
                response = self._http.urlopen("PUT", url, body=file, headers=headers, retries=False)
            except HTTPError:
                if attempt == _ATTEMPTS:
                    raise
            else:
                if response.status not in _WORTH_REPEATING or attempt == _ATTEMPTS:
                    return response
            time.sleep(random.uniform(0, 2**attempt / 4))
            attempt += 1

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
        return known.get("sha256") or self._read_hash(key)

    def _read_hash(self, key: str) -> str | None:
        try:
            found = self._client.get_object(Bucket=self.bucket, Key=key)
        except self._client.exceptions.NoSuchKey:
            return None
        digest = hashlib.sha256()
        with closing(found["Body"]) as body:
            for piece in body.iter_chunks(_PIECE):
                digest.update(piece)
        return digest.hexdigest()

    @contextmanager
    def _errors(self, key: str | None = None) -> Iterator[None]:
        try:
            yield
        except (ClientError, BotoCoreError, HTTPError) as error:
            raise self._explained(error, key) from error

    def _explained(self, error: Exception, key: str | None) -> DarkroomError:
        what = f'"{key}" in bucket' if key else "Bucket"
        what = f'{what} "{self.bucket}" at {self._endpoint}'
        if isinstance(error, ClientError):
            code = error.response["Error"]["Code"]
            if key is None and code == "404":
                code = "NoSuchBucket"
            if code in _ADVICE:
                return ConfigurationError(f"{what} was refused ({code}): {_ADVICE[code]}")
            return ArchiveError(f"{what}: the store answered {code}")
        if isinstance(error, NoCredentialsError):
            return ConfigurationError(f"{what} needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if isinstance(error, ParamValidationError):
            return ConfigurationError(f"{what} cannot be asked for: {' '.join(str(error).split())}")
        return ArchiveError(f"{what} cannot be reached ({type(error).__name__})")


def _connect(session: Session) -> "S3Client":
    elsewhere = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL"))
    configured = session.get_scoped_config().get("s3", {}).get("addressing_style")
    config = Config(
        # Without it boto3 signs links the old way, which other stores refuse.
        signature_version="s3v4",
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        max_pool_connections=_CONNECTIONS,
        # A store of one's own seldom has a host name for each bucket.
        s3={"addressing_style": configured or ("path" if elsewhere else "auto")},
        response_checksum_validation="when_required",  # we hash what we read ourselves
    )
    region = session.get_config_variable("region") or os.environ.get("AWS_REGION") or "us-east-1"
    return boto3.Session(botocore_session=session).client("s3", region_name=region, config=config)


def _transport(endpoint: str, session: Session) -> urllib3.PoolManager:
    """What sends the puts, with the certificates and the proxy that boto3 uses for the rest."""
    ca_bundle = session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    options: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT),
        "maxsize": _CONNECTIONS,
        "blocksize": _BLOCK,
        "ca_certs": ca_bundle or get_cert_path(True),
    }
    proxies = ProxyConfiguration(proxies=get_environ_proxies(endpoint))
    proxy = proxies.proxy_url_for(endpoint)
    if not proxy:
        return urllib3.PoolManager(**options)
    return urllib3.ProxyManager(proxy, proxy_headers=proxies.proxy_headers_for(proxy), **options)
