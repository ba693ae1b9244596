"""What `darkroom doctor` says about the store behind the bucket."""

import json
from pathlib import Path

import pytest

from tests.s3 import BUCKET, only_test_servers, rclone_server
from tests.tasks.cli.conftest import Darkroom


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")


def test_what_the_bucket_does_not_honour_is_a_warning_each(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_test_servers(monkeypatch, tmp_path)
    monkeypatch.setenv("S3_BUCKET", BUCKET)
    with rclone_server(tmp_path) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        document = json.loads(darkroom("doctor", "--json").stdout)
        left = [path for path in (tmp_path / "buckets" / BUCKET).rglob("*") if path.is_file()]
    found = [(one["verdict"], one["message"]) for one in document["checks"] if one["check"] == "bucket"]
    assert found[0] == ("ok", "photos takes and gives back what is put there")
    assert ("warn", "photos does not keep tags: set S3_TAGS=no to send none") in found
    assert {verdict for verdict, _ in found[1:]} == {"warn"}
    assert left == []
