"""A broken object is put right: what lies there, and what was written beside it, is replaced."""

import io

import pytest

from tests.s3 import BUCKET, boto3_client
from tests.worker.archive.storing import PIXELS, digest, store
from worker.archive import Verdict
from worker.archive.keys import Keys, Kind
from worker.archive.s3 import S3Archive

FILM = bytes(range(256)) * (17 * 4096)


@pytest.mark.parametrize("content", [PIXELS, FILM], ids=["small", "in parts"])
def test_whatever_lies_there_is_replaced(archive: S3Archive, content: bytes):
    key = f"test_whatever_lies_there_is_replaced/{len(content)}/0.png"
    store(archive, key, content)
    # As a disk breaks it: the hash beside it is still the right one, which a plain store believes where it can.
    boto3_client(archive).put_object(
        Bucket=BUCKET, Key=key, Body=b"X" + content[1:], Metadata={"sha256": digest(content)}
    )
    assert archive.verify(key, digest(content)) is Verdict.CHANGED
    archive.store(
        key,
        io.BytesIO(content),
        sha256=digest(content),
        size=len(content),
        content_type="image/png",
        metadata={"generation-id": "gen_1"},
        filename="cat-0.png",
        tags={},
        replace=True,
    )
    assert archive.verify(key, digest(content)) is Verdict.INTACT
    found = boto3_client(archive).head_object(Bucket=BUCKET, Key=key)
    assert found["ContentType"] == "image/png"


@pytest.mark.parametrize("prefix", ["", "darkroom"])
def test_our_own_keys_say_what_they_stand_for(prefix: str):
    keys = Keys(prefix)
    at = f"{prefix}/" if prefix else ""
    assert keys.manifest("batch_1", "Cats & dogs") == f"{at}manifests/Cats=20=26=20dogs/batch_1/manifest.jsonl"
    assert keys.manifest("batch_1", "cats") == f"{at}manifests/cats/batch_1/manifest.jsonl"
    assert keys.kind(keys.manifest("batch_1", "cats")) is Kind.MANIFEST
    assert keys.kind(keys.rejected("gen_1", 0)) is Kind.REJECTED
    assert keys.kind(f"{at}2026/11/21/single/gen_1/generation.json") is Kind.SIDECAR
    for asset in ("2026/11/21/single/gen_1/0.png", "2026/11/21/manifests/gen_1/0.png", "manifests/0.png", "rejected"):
        assert keys.kind(f"{at}{asset}") is Kind.ASSET
    assert keys.sidecar_beside(f"{at}a/b/0.png") == f"{at}a/b/generation.json"
