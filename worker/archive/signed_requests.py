"""Requests signed by botocore's own signature and sent by urllib3, without the client around it."""

import random
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.session import Session
from urllib3.exceptions import HTTPError

from worker.archive.client import ATTEMPTS, transport
from worker.locked_cached_property import locked_cached_property

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: HTTP statuses; 409 answers a conditional put while another one to the same key is under way
_WORTH_REPEATING = frozenset({409, 429, 500, 502, 503, 504})
_NO_HEADERS: Mapping[str, str] = {}
#: SHA-256 of no bytes
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Body(Protocol):
    """A file, or a part of one that looks like a file of its own."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...


class SignedRequests:
    """To one bucket, for its many puts and gets.

    boto3's `put_object` takes twice the CPU, and over plain http it hashes the body once more to sign it, where our
    signature covers the SHA-256 that we know. The store checks the body against it.
    """

    def __init__(self, session: Session, client: "S3Client", bucket: str) -> None:
        self._session = session
        self._client = client
        self._bucket = bucket
        self._http = transport(client.meta.endpoint_url, session)

    def send(
        self,
        method: str,
        key: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] = _NO_HEADERS,
        body: Body | None = None,
        sha256: str = NOTHING,
        stream: bool = False,
    ) -> urllib3.BaseHTTPResponse:
        """The last answer of up to three tries; `body` is sent from its start, `sha256` (hexadecimal) is its hash.

        With `stream` the caller reads the answer, and closes it. Raises NoCredentialsError, HTTPError.
        """
        address = self._base + quote(key, safe="/~") + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        url, signed = self._sign(method, address, headers, sha256)
        attempt = 1
        while True:
            if body is not None:
                body.seek(0)
            try:
                # urllib3 would log the signed link when it repeats or redirects by itself.
                response = self._http.urlopen(
                    method, url, body=body, headers=signed, retries=False, preload_content=not stream
                )
            except HTTPError:
                if attempt == ATTEMPTS:
                    raise
            else:
                if response.status not in _WORTH_REPEATING or attempt == ATTEMPTS:
                    return response
                response.close()
            time.sleep(random.uniform(0, 2**attempt / 4))
            attempt += 1

    def close(self) -> None:
        self._http.clear()

    @locked_cached_property
    def _credentials(self) -> Credentials:
        # On first use: a client without credentials is told so there, as it is by every other verb.
        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return found

    @locked_cached_property
    def _base(self) -> str:
        # boto3 decides how the bucket is addressed; what it says for one key holds for all of them.
        probe = self._client.generate_presigned_url("put_object", Params={"Bucket": self._bucket, "Key": "k"})
        return probe.partition("?")[0].removesuffix("k")

    def _sign(self, method: str, address: str, headers: Mapping[str, str], sha256: str) -> tuple[str, dict[str, str]]:
        request = AWSRequest(method, address, headers=dict(headers))
        request.context["payload"] = sha256
        region = self._client.meta.region_name
        _KnownPayload(self._credentials.get_frozen_credentials(), "s3", region).add_auth(request)
        return str(request.url), dict(request.headers.items())


class _KnownPayload(S3SigV4Auth):
    """Takes the hash that we know, where botocore would read the whole body once more."""

    def payload(self, request: Any) -> str:
        return str(request.context["payload"])


def refusal(response: urllib3.BaseHTTPResponse, operation: str) -> ClientError:
    """What the store answered instead of a success, as boto3 would say it."""
    code = re.search(rb"<Code>([\w.]+)</Code>", response.data)
    return ClientError({"Error": {"Code": code[1].decode() if code else str(response.status)}}, operation)
