"""Storing as the flow does it."""

import hashlib
import io
from typing import IO

from worker.archive import StoredAsset
from worker.archive.s3 import S3Archive

PIXELS = bytes(range(256)) * 4


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def store(
    archive: S3Archive,
    key: str,
    content: bytes = PIXELS,
    file: IO[bytes] | None = None,
    *,
    filename: str = "cat-0.png",
    **tags: str,
) -> StoredAsset:
    return archive.store(
        key,
        file or io.BytesIO(content),
        sha256=digest(content),
        size=len(content),
        content_type="image/png",
        metadata={"generation-id": "gen_1"},
        filename=filename,
        tags=tags,
    )
