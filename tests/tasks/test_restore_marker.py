"""The marker in a real bucket, and buckets that are away, hang or hold something else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks import restore_marker
from tasks.restore_marker import keep_watch, read, write
from tests import s3
from tests.clock import NOON, FakeClock
from worker.archive import Keys
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError, ConfigurationError
from worker.ledger import Ledger
from worker.ledger.restore_guard import Marker

MARKER = Marker("ledger_a", 7, 1234, NOON)


@pytest.fixture
def archive(rclone: s3.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Archive]:
    s3.only_test_servers(monkeypatch, tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", rclone.endpoint)
    archive = S3Archive(s3.BUCKET, Keys(tmp_path.name))
    yield archive
    archive.close()


def here(ledger: Ledger, archive: Any) -> Any:
    return SimpleNamespace(ledger=ledger, archive=archive)


class Trouble:
    """A bucket that cannot be read."""

    bucket = "photos"
    keys = Keys("")

    def __init__(self, raises: Exception | None = None) -> None:
        self.raises = raises
        self.asked = 0
        self.end = threading.Event()

    @contextmanager
    def read(self, _: str) -> Iterator[Iterator[bytes]]:
        self.asked += 1
        if self.raises is None:
            self.end.wait(20)
        raise self.raises or ArchiveError("hung up")
        yield iter(())


def test_what_is_written_is_read(archive: S3Archive) -> None:
    assert read(archive) is None
    write(archive, MARKER)
    assert read(archive) == MARKER
    assert archive.keys.marker.endswith("/.darkroom/ledger.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"null", b'{"schema": 2}', b"[" * 70_000])
def test_what_is_no_marker_is_said_and_closes_nothing(archive: S3Archive, ledger: Ledger, content: bytes) -> None:
    archive.overwrite(archive.keys.marker, content, content_type="application/json", metadata={})
    with pytest.raises(ConfigurationError, match="is not a marker that this version of Darkroom can read"):
        read(archive)
    keep_watch(here(ledger, archive))
    found = ledger.restore.state()
    assert found is not None
    assert (found.complaint, found.compared_at) == (None, None)


def test_it_is_written_at_most_every_half_minute(archive: S3Archive, ledger: Ledger, clock: FakeClock) -> None:
    for seconds, number in ((0, 1), (10, 1), (19, 1), (1, 2)):
        clock.advance(seconds)
        keep_watch(here(ledger, archive))
        marker = read(archive)
        assert marker is not None
        assert (marker.number, marker.at) == (number, NOON if number == 1 else clock.now)


def test_a_ledger_that_is_behind_leaves_the_marker_as_it_is(archive: S3Archive, ledger: Ledger) -> None:
    write(archive, MARKER)
    keep_watch(here(ledger, archive))
    assert read(archive) == MARKER
    found = ledger.restore.state()
    assert found is not None
    assert found.closed_at is not None


@pytest.mark.parametrize("error", [ArchiveError("503"), ConfigurationError("no such bucket")])
def test_a_bucket_that_is_away_is_asked_once_in_half_a_minute(
    ledger: Ledger, clock: FakeClock, error: Exception
) -> None:
    bucket = Trouble(error)
    for _ in range(5):
        keep_watch(here(ledger, bucket))
        clock.advance(7)
    assert bucket.asked == 1
    found = ledger.restore.state()
    assert found is not None
    assert found.complaint is None


def test_a_restored_ledger_waits_for_a_bucket_that_is_away_and_is_then_stopped(
    archive: S3Archive, ledger: Ledger, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    keep_watch(here(ledger, archive))
    mine = read(archive)
    assert mine is not None
    write(archive, replace(mine, number=40))
    clock.advance(hours=8)
    keep_watch(here(ledger, Trouble(ArchiveError("503"))))
    assert "submissions are paused: the ledger has been idle since 2026-11-21 12:00:00 UTC" in caplog.text
    clock.advance(30)
    keep_watch(here(ledger, archive))
    assert "the ledger is older than its marker in the bucket" in caplog.text


def test_one_that_slept_goes_on_when_the_bucket_answers(archive: S3Archive, ledger: Ledger, clock: FakeClock) -> None:
    keep_watch(here(ledger, archive))
    clock.advance(hours=8)
    keep_watch(here(ledger, Trouble(ArchiveError("503"))))
    clock.advance(30)
    keep_watch(here(ledger, archive))
    found, marker = ledger.restore.state(), read(archive)
    assert found is not None
    assert marker is not None
    assert (found.complaint, marker.number) == (None, 2)


def test_a_bucket_that_hangs_is_not_waited_for(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_marker, "PATIENCE", 0.05)
    bucket = Trouble()
    try:
        keep_watch(here(ledger, bucket))
        assert not ledger.restore.is_check_due()
        found = ledger.restore.state()
        assert found is not None
        assert found.complaint is None
    finally:
        bucket.end.set()
