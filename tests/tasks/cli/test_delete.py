"""`darkroom delete`: told first, done with --yes, begun again where the bucket went away."""

import json
from typing import Any

import pytest

from tests import s3
from tests.kept import kept
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError
from worker.generation import State
from worker.ledger import Ledger


def objects(archive: S3Archive) -> set[str]:
    return {listed.object_key for listed in archive.list(f"{archive.keys.prefix}/")}


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def states(ledger: Ledger) -> dict[State, int]:
    return dict(ledger.generations.counts())


def test_at_first_it_only_says_what_would_go(darkroom: Darkroom, archive: S3Archive, ledger: Ledger) -> None:
    (asset,) = kept(ledger, archive, 1)
    there = objects(archive)
    result = darkroom("delete", asset.generation_id, "--objects")
    assert result.exit_code == 0
    assert result.stdout == f"{asset.generation_id} would be deleted, with 1 object and the sidecar\n"
    assert "nothing was deleted: repeat the command with --yes" in result.stderr
    assert (states(ledger), objects(archive)) == ({State.ARCHIVED: 1}, there)


def test_what_yes_would_not_change_is_not_offered(darkroom: Darkroom, ledger: Ledger) -> None:
    result = darkroom("delete", "--state", "archived")
    assert (result.exit_code, result.stderr) == (0, "No matching generations.\n")
    stories.queued(ledger, batch="shop")
    result = darkroom("delete", "--batch", "shop")
    assert (result.exit_code, "--yes" in result.stderr) == (1, False)


def test_the_ledger_alone_forgets_it_or_the_bucket_too(darkroom: Darkroom, archive: S3Archive, ledger: Ledger) -> None:
    gone, stays = kept(ledger, archive, 2)
    there = objects(archive)
    result = darkroom("delete", gone.generation_id, "--yes")
    assert result.stdout == f"{gone.generation_id} deleted; 1 object left in the bucket\n"
    assert objects(archive) == there
    assert darkroom("verify", "--json").exit_code == 0
    assert {"manifest", "notify"} <= set(darkroom.bells)
    (line,) = lines(darkroom("delete", gone.generation_id, "--objects", "--yes", "--json").stdout)
    assert line == {"id": gone.generation_id, "done": True, "objects": [gone.object_key], "message": "deleted"}
    assert objects(archive) == {key for key in there if str(stays.object_key).rpartition("/")[0] in key}
    assert len(objects(archive)) == 2
    assert darkroom("verify", "--json").exit_code == 0
    shown = json.loads(darkroom("show", "--json", gone.generation_id).stdout)
    assert (shown["state"], shown["prompt"], shown["assets"][0]["sha256"]) == ("deleted", "", gone.sha256)
    assert f"{gone.generation_id}\tdeleted" in darkroom("list").stdout


def test_a_whole_batch_goes_and_what_is_under_way_is_told(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger
) -> None:
    kept(ledger, archive, 3, batch="cats")
    kept(ledger, archive, 1)
    waiting = stories.queued(ledger, batch="dogs")[0].id
    result = darkroom("delete", "--batch", "cats", "--objects", "--yes")
    assert (result.exit_code, len(objects(archive))) == (0, 2)
    assert result.stdout == "3 deleted with 3 objects\n"
    assert states(ledger) == {State.DELETED: 3, State.ARCHIVED: 1, State.QUEUED: 1}
    result = darkroom("delete", "--batch", "dogs", "--yes")
    assert result.exit_code == 1
    assert result.stdout == "0 deleted; 1 left alone: 1 queued (cancel them first)\n"
    told = darkroom("delete", waiting, "--yes").stdout
    assert told == f"{waiting} not deleted: it is queued: cancel it first with `darkroom cancel {waiting}`\n"


def test_where_the_bucket_went_away_it_is_said_again(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(ledger, archive, 4, batch="cats")
    deleted = []
    delete = S3Archive.delete

    def go_away(self: S3Archive, key: str, sha256: str | None = None) -> None:
        if len(deleted) == 5:
            raise ArchiveError("the bucket cannot be reached")
        deleted.append(key)
        delete(self, key, sha256)

    with monkeypatch.context() as patch:
        patch.setattr(S3Archive, "delete", go_away)
        result = darkroom("delete", "--batch", "cats", "--objects", "--yes")
    assert result.exit_code == 1
    assert "the bucket cannot be reached; deleted from the ledger, but some objects remain in the bucket" in (
        result.stderr
    )
    assert states(ledger) == {State.DELETED: 4}
    assert objects(archive)
    assert darkroom("delete", "--batch", "cats", "--objects", "--yes").exit_code == 0
    assert objects(archive) == set()


def test_another_picture_that_lies_there_by_now_stays(darkroom: Darkroom, archive: S3Archive, ledger: Ledger) -> None:
    """Of a later generation with the same key of its caller's."""
    (asset,) = kept(ledger, archive, 1)
    assert darkroom("delete", asset.generation_id, "--yes").exit_code == 0
    s3.boto3_client(archive).put_object(Bucket=s3.BUCKET, Key=str(asset.object_key), Body=b"other pixels")
    sidecar = archive.keys.sidecar_beside(str(asset.object_key))
    s3.boto3_client(archive).put_object(Bucket=s3.BUCKET, Key=sidecar, Body=b'{"id": "gen_other"}')
    assert darkroom("delete", asset.generation_id, "--objects", "--yes").exit_code == 0
    assert objects(archive) == {asset.object_key, sidecar}


def test_it_needs_either_ids_or_a_batch(darkroom: Darkroom) -> None:
    assert darkroom("delete").exit_code == 2
    assert darkroom("delete", "gen_1", "--batch", "cats").exit_code == 2
    assert darkroom("delete", "gen_1").exit_code == 1
