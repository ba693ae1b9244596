"""Requests signed by botocore and sent by urllib3, without boto3's client."""

import random
import re
import time
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, NoCredentialsError
from botocore.session import Session
from urllib3.exceptions import HTTPError

from worker.archive.client import ATTEMPTS, Addresses, transport
from worker.runtime import locked_cached_property

#: HTTP statuses; 409 means another conditional put to the same key is in progress
_WORTH_REPEATING = frozenset({409, 429, 500, 502, 503, 504})
#: statuses, codes and words of stores that require the bucket's name in the host
_PATH_REFUSED = frozenset({400, 403})
WANTS_VIRTUAL = frozenset(
    {"SecondLevelDomainForbidden", "PathStyleDomainForbidden", "VirtualHostDomainRequired", "InvalidPathAccess"}
)
_VIRTUAL = re.compile("virtual[- ]?host(ed)?[- ]style", re.IGNORECASE)
#: a listing that only tests access
ONE_KEY = {"list-type": "2", "max-keys": "1"}
_NO_HEADERS: Mapping[str, str] = {}
#: the SHA-256 of an empty body
NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Body(Protocol):
    """A file, or a part of one."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, /) -> int: ...


class SignedRequests:
    """Sends all requests to one bucket.

    boto3's `put_object` takes twice the CPU, and over plain http it hashes the body again to sign it. Our signature
    covers the SHA-256 that we already know, and the store checks the body against it.
    """

    def __init__(self, session: Session, addresses: Addresses) -> None:
        self._session, self._addresses = session, addresses
        self._http = transport(addresses.client.meta.endpoint_url, session)
        self._has_asked_why = False

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
        """Return the last response of up to three tries. `body` is sent from its start; `sha256` is its hex digest.

        Without a key, the request is for the bucket. With `stream`, the caller reads and closes the response. Raises
        NoCredentialsError, HTTPError.
        """
        attempt = 1
        while True:
            base = self._addresses.base
            url, signed = self._sign(method, _address(base, key, query), headers, sha256)
            if body is not None:
                body.seek(0)
            try:
                # If urllib3 itself retried or redirected, it would log the signed link.
                response = self._http.urlopen(
                    method, url, body=body, headers=signed, retries=False, preload_content=not stream
                )
            except HTTPError:
                if attempt == ATTEMPTS:
                    raise
            else:
                if response.status in _PATH_REFUSED and self._is_elsewhere(response, method, base):
                    response.close()
                    continue
                if response.status not in _WORTH_REPEATING or attempt == ATTEMPTS:
                    return response
                response.close()
            time.sleep(random.uniform(0, 2**attempt / 4))
            attempt += 1

    def close(self) -> None:
        self._http.clear()

    @locked_cached_property
    def _credentials(self) -> Credentials:
        # On first use, so that missing credentials raise there, as with every other request.
        found = self._session.get_credentials()
        if found is None:
            raise NoCredentialsError
        return found

    def _is_elsewhere(self, response: urllib3.BaseHTTPResponse, method: str, base: str) -> bool:
        """Return whether the base address has changed since this request, perhaps because of its refusal."""
        if self._addresses.may_change:
            if method == "HEAD" and not self._has_asked_why:
                # This response has no body that gives a reason.
                self._has_asked_why = True
                self.send("GET", "", query=ONE_KEY)
            else:
                told = refusal(response, method).response["Error"]
                if told["Code"] in WANTS_VIRTUAL or _VIRTUAL.search(told["Message"]):
                    self._addresses.change()
        return self._addresses.base != base

    def _sign(self, method: str, address: str, headers: Mapping[str, str], sha256: str) -> tuple[str, dict[str, str]]:
        request = AWSRequest(method, address, headers=dict(headers))
        request.context["payload"] = sha256
        region = self._addresses.client.meta.region_name
        _KnownPayload(self._credentials.get_frozen_credentials(), "s3", region).add_auth(request)
        return str(request.url), dict(request.headers.items())


class _KnownPayload(S3SigV4Auth):
    """Uses the hash that we know; botocore would read the whole body once more."""

    def payload(self, request: Any) -> str:
        return str(request.context["payload"])

    def headers_to_sign(self, request: Any) -> Any:
        """Collect the headers once; botocore collects them once for their values and again for their names."""
        if "headers" not in request.context:
            request.context["headers"] = super().headers_to_sign(request)
        return request.context["headers"]


def _address(base: str, key: str, query: Mapping[str, str] | None) -> str:
    # The bucket's own address has no trailing slash, unless its path is empty.
    address = base + quote(key, safe="/~") if key or urlsplit(base).path == "/" else base.removesuffix("/")
    return address + (f"?{urlencode(query, quote_via=quote)}" if query else "")


def refusal(response: urllib3.BaseHTTPResponse, operation: str) -> ClientError:
    """Return the store's error as boto3's ClientError."""
    code = re.search(rb"<Code>([\w.]+)</Code>", response.data)
    message = re.search(rb"<Message>([^<]{,1000})", response.data)
    error = {"Code": code[1].decode() if code else str(response.status)}
    error["Message"] = message[1].decode(errors="replace") if message else ""
    facts: Any = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": response.status}}
    return ClientError(facts, operation)
