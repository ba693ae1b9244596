"""The settings of the bucket, from the environment to the object."""

from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.pipeline import running_pipeline
from tests.s3 import BUCKET, Server, boto3_client
from webhook import sandbox


def test_a_picture_lies_where_and_as_the_settings_say(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("S3_KEY_TEMPLATE", "{prefix}/{provider}/{generation}/{operation}-{index}.{ext}")
    monkeypatch.setenv("S3_SSE", "AES256")
    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        with (
            sandbox.running(delay=0.05, size=64) as provider,
            running_pipeline(
                monkeypatch,
                database_url=sqlite_url,
                sandbox=provider,
                server=Server("moto", f"http://{host}:{port}", tmp_path),
                folder=tmp_path,
            ) as pipeline,
        ):
            bucket = boto3_client(pipeline.here.archive)
            bucket.create_bucket(Bucket=BUCKET)
            (generation_id,) = pipeline.submit("A lighthouse, in the fog")
            pipeline.until_settled()
            (asset,) = pipeline.assets(generation_id)
            folder = f"{tmp_path.name}/acedata/{generation_id}"
            assert asset.object_key == f"{folder}/imagine-0.png"
            there = {found.object_key for found in pipeline.here.archive.list(f"{tmp_path.name}/")}
            assert there == {asset.object_key, f"{folder}/generation.json", pipeline.here.archive.keys.marker}
            picture = bucket.head_object(Bucket=BUCKET, Key=asset.object_key)
            tags = bucket.get_object_tagging(Bucket=BUCKET, Key=asset.object_key)["TagSet"]
    finally:
        moto.stop()
    assert picture["ContentDisposition"] == 'inline; filename="a-lighthouse-in-the-fog-0.png"'
    assert picture["ServerSideEncryption"] == "AES256"
    assert {tag["Key"]: tag["Value"] for tag in tags} == {
        "generation": generation_id,
        "provider": "acedata",
        "operation": "imagine",
    }
