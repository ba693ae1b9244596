"""The headers with which objects are stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from worker.archive.names import disposition, tagging
from worker.archive.objects import StoredAsset

#: S3_ADDRESSING: bucket name in the address's path, in its host, or wherever the endpoint and the store require it
Addressing = Literal["auto", "path", "virtual"]


class Extra(StrEnum):
    """A header that a store may refuse without harm to the asset, most likely first."""

    TAGS = "tags"
    STORAGE_CLASS = "storage class"
    CHECKSUM = "x-amz-checksum-sha256"
    CONDITION = "If-None-Match"


@dataclass(frozen=True, slots=True)
class Upload:
    """An object to store and its headers, the same whether it is sent whole or in parts."""

    asset: StoredAsset
    headers: Mapping[str, str]
    #: headers that the store may refuse
    optional: Mapping[Extra, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Keeping:
    """S3_SSE (None: the bucket decides), S3_SSE_KMS_KEY_ID, S3_STORAGE_CLASS (None: standard) and S3_TAGS."""

    encryption: str | None = None
    kms_key_id: str | None = None
    storage_class: str | None = None
    tags: bool = True

    def picture(
        self, asset: StoredAsset, metadata: Mapping[str, str], filename: str, tags: Mapping[str, str]
    ) -> Upload:
        headers = self._headers(asset, metadata) | {"Content-Disposition": disposition(filename)}
        optional = {}
        if self.tags and tags:
            optional[Extra.TAGS] = ("x-amz-tagging", tagging(tags))
        if self.storage_class:
            optional[Extra.STORAGE_CLASS] = ("x-amz-storage-class", self.storage_class)
        return Upload(asset, headers, optional)

    def note(self, asset: StoredAsset, metadata: Mapping[str, str]) -> Upload:
        """A small object beside the assets, in the standard class: cold classes make small objects more expensive."""
        return Upload(asset, self._headers(asset, metadata))

    def _headers(self, asset: StoredAsset, metadata: Mapping[str, str]) -> dict[str, str]:
        headers = {"Content-Type": asset.content_type}
        headers |= {f"x-amz-meta-{name}": value for name, value in {**metadata, "sha256": asset.sha256}.items()}
        if self.encryption:
            headers["x-amz-server-side-encryption"] = self.encryption
        if self.kms_key_id:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = self.kms_key_id
        return headers
