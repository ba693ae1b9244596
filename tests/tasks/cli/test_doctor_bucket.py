"""What `darkroom doctor` says about the store behind the bucket."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.s3 import BUCKET, Server, only_test_servers, rclone_server
from tests.tasks.cli.conftest import Darkroom


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    only_test_servers(monkeypatch, tmp_path)
    monkeypatch.setenv("S3_BUCKET", BUCKET)
    with rclone_server(tmp_path) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        yield server


def findings(darkroom: Darkroom) -> list[tuple[str, str]]:
    checks = json.loads(darkroom("doctor", "--json").stdout)["checks"]
    return [(one["verdict"], one["message"]) for one in checks if one["check"] == "bucket"]


def test_what_the_bucket_does_not_honour_is_a_warning_if_somebody_can_change_it(
    darkroom: Darkroom, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = findings(darkroom)
    assert first == ("ok", "photos: writable and readable")
    assert [one for one in others if one[0] == "warn"] == [
        ("warn", "photos does not keep tags: set S3_TAGS=false to send none")
    ]
    assert any(one[0] == "ok" and one[1].startswith("photos overwrites an existing object") for one in others)
    assert [path for path in (tmp_path / "buckets" / BUCKET).rglob("*") if path.is_file()] == []
    monkeypatch.setenv("S3_TAGS", "false")
    assert {verdict for verdict, _ in findings(darkroom)} == {"ok"}


def test_the_embedded_server_is_one_line(darkroom: Darkroom, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    found_by = {"S3_BUCKET": BUCKET, "AWS_ENDPOINT_URL_S3": server.endpoint}
    (darkroom.data / "running.json").write_text(json.dumps(found_by))
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.endpoint)
    assert findings(darkroom) == [("ok", "embedded S3 server: writable and readable")]
