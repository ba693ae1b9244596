"""Turns errors of the bucket into sentences with a remedy."""

from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError

from worker.archive.signed_requests import WANTS_VIRTUAL
from worker.errors import ArchiveError, ConfigurationError, DarkroomError

_GRANT = (
    "allow these credentials s3:GetObject, s3:PutObject, s3:PutObjectTagging, s3:AbortMultipartUpload and s3:ListBucket"
    " (and s3:DeleteObject for `darkroom delete --objects`)"
)
_REGION = "the bucket is in another region: set AWS_DEFAULT_REGION to it"
_VIRTUAL = (
    "the store requires the bucket's name in the host: set S3_ADDRESSING=virtual, and AWS_ENDPOINT_URL to a host"
    " name without the bucket"
)
_ENCRYPTION = "correct S3_SSE_KMS_KEY_ID, and allow these credentials to use that key"
_BY_CODE = {
    "NoSuchBucket": "create the bucket, or correct S3_BUCKET",
    "InvalidAccessKeyId": "correct AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "renew the credentials and AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "correct this machine's clock",
    "AccessDenied": _GRANT,
    # Without a code, the status is used.
    "403": f"correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or {_GRANT}; some stores need S3_ADDRESSING=virtual",
    "PermanentRedirect": _REGION,
    "TemporaryRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "AuthorizationQueryParametersError": _REGION,
    "InvalidStorageClass": "correct S3_STORAGE_CLASS",
    "InvalidEncryptionAlgorithmError": "correct S3_SSE",
    "KMS.NotFoundException": _ENCRYPTION,
    "KMS.DisabledException": _ENCRYPTION,
    "KMS.InvalidKeyUsageException": _ENCRYPTION,
    "KMS.KMSInvalidStateException": _ENCRYPTION,
    **dict.fromkeys(WANTS_VIRTUAL, _VIRTUAL),
    "NotImplemented": "set S3_SSE=none and leave S3_STORAGE_CLASS empty, unless the store supports them",
}


def explained(error: Exception, bucket: str, endpoint: str, key: str | None) -> DarkroomError:
    """Return a ConfigurationError if a person has to act, else an ArchiveError; without signatures."""
    what = f'"{key}" in bucket' if key else "Bucket"
    what = f'{what} "{bucket}" at {endpoint}'
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        if key is None and code in {"404", "NoSuchKey"}:
            code = "NoSuchBucket"
        if code in _BY_CODE:
            return ConfigurationError(f"{what} was refused ({code}): {_BY_CODE[code]}")
        return ArchiveError(f"{what}: the store answered {code}")
    if isinstance(error, NoCredentialsError):
        return ConfigurationError(f"{what} needs credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if isinstance(error, ParamValidationError):
        return ConfigurationError(f"{what} cannot be requested: {' '.join(str(error).split())}")
    return ArchiveError(f"{what} is unreachable ({type(error).__name__})")
