"""AWS Signature Version 4 for S3, of a request whose body's hash is known before anybody reads the body."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from botocore.credentials import ReadOnlyCredentials

from worker.net import PORTS

_ALGORITHM = "AWS4-HMAC-SHA256"


def signed(
    method: str,
    address: str,
    headers: Mapping[str, str],
    *,
    sha256: str,
    credentials: ReadOnlyCredentials,
    region: str,
    at: datetime,
) -> dict[str, str]:
    """The headers, and those that sign the request, which must be sent to the address as it is written.

    `sha256` (hexadecimal) is the body's, `at` the time in UTC. botocore's own signer gives the same, for more than
    three times the CPU.
    """
    time = f"{at:%Y%m%dT%H%M%SZ}"
    scope = (time[:8], region, "s3", "aws4_request")
    whole = {**headers, "X-Amz-Date": time, "X-Amz-Content-SHA256": sha256}
    if credentials.token:
        whole["X-Amz-Security-Token"] = credentials.token
    canonical, names = _canonical(method, address, whole, sha256)
    to_sign = "\n".join((_ALGORITHM, time, "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (*scope, to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"{credentials.access_key}/{'/'.join(scope)}"
    whole["Authorization"] = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return whole


def _canonical(method: str, address: str, headers: Mapping[str, str], sha256: str) -> tuple[str, str]:
    """The request as both sides write it before they hash it, and the names of its headers."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port not in {None, PORTS.get(parts.scheme)}:
        host += f":{parts.port}"
    # By name and then by value: an "=" is no part of either, and must not be compared.
    query = "&".join("".join(pair) for pair in sorted(pair.partition("=") for pair in parts.query.split("&")))
    told = sorted([("host", host), *((name.lower(), " ".join(value.split())) for name, value in headers.items())])
    names = ";".join(name for name, _ in told)
    lines = (f"{name}:{value}" for name, value in told)
    return "\n".join((method, parts.path, query, *lines, "", names, sha256)), names
