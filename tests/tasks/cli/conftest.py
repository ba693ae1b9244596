"""The command with a real ledger in a data folder of its own; bells are recorded instead of rung."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tasks.cli import cli
from tests import s3
from worker.archive import Keys
from worker.archive.s3 import S3Archive
from worker.ledger import Ledger


@dataclass
class Darkroom:
    """Calls `darkroom …`; what it would have told the broker is in `bells`."""

    data: Path
    bells: list[str] = field(default_factory=list)
    broker_is_there: bool = True

    def __call__(self, *arguments: str, input: str | bytes | None = None) -> Result:  # noqa: A002 - click's word
        before = dict(os.environ)
        try:
            result = CliRunner().invoke(cli, arguments, input=input, prog_name="darkroom")
        finally:
            os.environ.clear()
            os.environ.update(before)
        if isinstance(result.exception, Exception):
            raise result.exception
        return result

    def ring(self, *kinds: str) -> bool:
        self.bells += kinds
        return self.broker_is_there


@pytest.fixture
def darkroom(migrated_file: Path, sqlite_url: str, tmp_path: Path, monkeypatch: Any) -> Darkroom:
    assert sqlite_url.endswith(f"{tmp_path}/ledger.sqlite3"), "the ledger lies where a data folder has it"
    command = Darkroom(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "a-token-of-the-tests")
    monkeypatch.setattr("worker.wakeup.ring", command.ring)
    return command


@pytest.fixture
def ledger(sqlite_url: str) -> Iterator[Ledger]:
    """The ledger of `darkroom`, to arrange what commands find and to look at what they left."""
    ledger = Ledger(sqlite_url)
    yield ledger
    ledger.close()


@pytest.fixture
def archive(
    darkroom: Darkroom, rclone: s3.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[S3Archive]:
    """The bucket of `darkroom`, to break what lies there."""
    s3.only_test_servers(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", rclone.endpoint)
    monkeypatch.setenv("S3_BUCKET", s3.BUCKET)
    monkeypatch.setenv("S3_PREFIX", tmp_path.name)
    found = S3Archive(s3.BUCKET, Keys(tmp_path.name))
    yield found
    found.close()
