"""What went wrong with the bucket, as a sentence that says what a person should do."""

from botocore.exceptions import ClientError, NoCredentialsError, ParamValidationError

from worker.archive.signed_requests import WANTS_VIRTUAL
from worker.errors import ArchiveError, ConfigurationError, DarkroomError

_GRANT = (
    "allow these credentials s3:GetObject, s3:PutObject, s3:PutObjectTagging, s3:AbortMultipartUpload and s3:ListBucket"
    " (and s3:DeleteObject for `darkroom delete --objects`)"
)
_REGION = "the bucket is in another region, so set AWS_DEFAULT_REGION to that"
_VIRTUAL = (
    "the store wants the bucket's name in the host: set S3_ADDRESSING=virtual, and AWS_ENDPOINT_URL to a host name"
    " without the bucket"
)
_ENCRYPTION = "correct S3_SSE_KMS_KEY_ID, and let these credentials use that key"
_BY_CODE = {
    "NoSuchBucket": "create the bucket, or correct S3_BUCKET",
    "InvalidAccessKeyId": "correct AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "renew the credentials and AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "set the clock of this machine",
    "AccessDenied": _GRANT,
    # Where no code is named, the status stands for it.
    "403": f"correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or {_GRANT}; some stores want S3_ADDRESSING=virtual",
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
    "NotImplemented": "set S3_SSE=none, and S3_STORAGE_CLASS to nothing, unless the store knows them",
}


def explained(error: Exception, bucket: str, endpoint: str, key: str | None) -> DarkroomError:
    """A ConfigurationError where only a person can help, else an ArchiveError; without what was signed."""
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
        return ConfigurationError(f"{what} cannot be asked for: {' '.join(str(error).split())}")
    return ArchiveError(f"{what} cannot be reached ({type(error).__name__})")
