"""Signs puts with botocore's own signature, without its client around it, which takes twice the CPU."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError
from botocore.session import Session

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class PutSigner:
    """For one bucket. The store checks the body against the SHA-256 that is signed."""

    def __init__(self, session: Session, client: "S3Client", bucket: str) -> None:
        self._credentials = session.get_credentials()
        self._region = client.meta.region_name
        # boto3 decides how the bucket is addressed; what it says for one key holds for all of them.
        probe = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
        self._base = probe.partition("?")[0].removesuffix("k")

    def sign(self, key: str, headers: Mapping[str, str], sha256: str) -> tuple[str, dict[str, str]]:
        """The address of the object and the headers of its put; `sha256` in hexadecimal. Raises NoCredentialsError."""
        if self._credentials is None:
            raise NoCredentialsError
        request = AWSRequest("PUT", self._base + quote(key, safe="/~"), headers=dict(headers))
        request.context["payload"] = sha256
        _KnownPayload(self._credentials.get_frozen_credentials(), "s3", self._region).add_auth(request)
        return str(request.url), dict(request.headers.items())


class _KnownPayload(S3SigV4Auth):
    """Takes the hash that we know, where botocore would read the whole body once more."""

    def payload(self, request: Any) -> str:
        return str(request.context["payload"])
