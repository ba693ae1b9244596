"""`darkroom verify`: what is missing, changed or unknown is named, and nothing else."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tasks.usecases import audit
from tests import s3
from tests.factories import LEASE, one, succeeded
from tests.kept import kept
from tests.tasks.cli.conftest import Darkroom
from worker.archive.s3 import S3Archive
from worker.archive.sidecars import sidecar
from worker.errors import ArchiveError
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Stored

NOTHING = {"checked": 0, "missing": [], "changed": [], "orphaned": [], "unread": {}, "rejected": []}


def put(archive: S3Archive, key: str, content: bytes) -> None:
    s3.boto3_client(archive).put_object(Bucket=s3.BUCKET, Key=key, Body=content)


def delete(archive: S3Archive, *keys: str | None) -> None:
    for key in keys:
        s3.boto3_client(archive).delete_object(Bucket=s3.BUCKET, Key=str(key))


def flip(archive: S3Archive, key: str | None) -> None:
    """One bit of it, in the middle."""
    with archive.read(str(key)) as pieces:
        content = bytearray(b"".join(pieces))
    content[len(content) // 2] ^= 1
    put(archive, str(key), bytes(content))


def verified(darkroom: Darkroom, *arguments: str, exit_code: int = 0) -> dict:
    result = darkroom("verify", "--json", *arguments)
    assert result.exit_code == exit_code, result.output
    (line,) = result.stdout.splitlines()
    return json.loads(line)


def test_an_empty_archive_is_whole(darkroom: Darkroom, archive: S3Archive) -> None:
    assert verified(darkroom) == NOTHING


@pytest.mark.system
def test_one_flipped_bit_one_missing_object_and_one_stranger_are_found_among_many(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger
) -> None:
    assets = kept(ledger, archive, 300, batch="cats")
    assert verified(darkroom) == NOTHING | {"checked": 300}
    flip(archive, assets[17].object_key)
    delete(archive, assets[170].object_key)
    stranger = f"{archive.keys.prefix}/2026/holiday.png"
    put(archive, stranger, b"pixels")
    assert verified(darkroom, exit_code=1) == NOTHING | {
        "checked": 300,
        "missing": [assets[170].object_key],
        "changed": [assets[17].object_key],
        "orphaned": [stranger],
    }


def test_people_are_told_which_generation_it_is_and_how_many_there_were(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger
) -> None:
    assets = kept(ledger, archive, 3)
    delete(archive, assets[1].object_key)
    put(archive, archive.keys.rejected("gen_1", 0), b"<html>")
    result = darkroom("verify")
    assert result.exit_code == 1
    assert result.stdout == (
        f"missing   {assets[1].object_key}  of {assets[1].generation_id}\n"
        "3 results read: 1 missing, 0 changed, 0 orphaned\n"
    )
    assert "1 refused file is kept as well" in result.stderr


def test_a_batch_a_time_or_a_sample_narrows_it_and_then_nothing_is_orphaned(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger
) -> None:
    cats = kept(ledger, archive, 4, batch="cats")
    dogs = kept(ledger, archive, 3, batch="dogs")
    delete(archive, dogs[0].object_key)
    put(archive, f"{archive.keys.prefix}/holiday.png", b"pixels")
    assert verified(darkroom, "--batch", "cats") == NOTHING | {"checked": 4}
    assert verified(darkroom, "--batch", "dogs", exit_code=1)["missing"] == [dogs[0].object_key]
    assert verified(darkroom, "--since", "1h", exit_code=1)["checked"] == 7
    assert verified(darkroom, "--sample", "100", exit_code=1)["checked"] == 7
    delete(archive, *(asset.object_key for asset in (*cats, *dogs)))
    sample = verified(darkroom, "--sample", "2", exit_code=1)
    assert (sample["checked"], len(set(sample["missing"])), sample["orphaned"]) == (2, 2, [])


def test_only_one_of_them_may_narrow_it(darkroom: Darkroom, archive: S3Archive) -> None:
    result = darkroom("verify", "--sample", "2", "--since", "1h")
    assert result.exit_code == 2
    assert "give only one of --batch, --label, --since and --sample" in result.stderr
    assert darkroom("verify", "--since", "soon").exit_code == 2
    assert "there is no batch 'mice'" in darkroom("verify", "--batch", "mice").stderr


def test_what_is_being_stored_at_this_moment_is_not_orphaned(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger
) -> None:
    """Its row is written after its object, and it waits long if the worker died in between."""
    succeeded(ledger, batch="cats")
    (claim,) = ledger.assets.claim(1, LEASE)
    put(archive, archive.keys.asset(claim.generation, claim.lineage, 0, "png"), b"pixels")
    put(archive, archive.keys.sidecar(claim.generation, claim.lineage), b"{}")
    assert verified(darkroom)["orphaned"] == []


def test_what_is_ours_beside_the_results_is_not_orphaned_and_need_not_be_read(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(ledger, archive, 2)
    put(archive, f"{archive.keys.prefix}/holiday.png", b"pixels")
    read: list[str] = []
    monkeypatch.setattr(audit, "described", lambda _, key: read.append(key))
    put(archive, archive.keys.manifest("batch_1", "cats"), b"{}\n")
    put(archive, archive.keys.rejected("gen_1", 0), b"<html>")
    document = verified(darkroom, exit_code=1)
    assert document["orphaned"] == [f"{archive.keys.prefix}/holiday.png"]
    assert document["rejected"] == [archive.keys.rejected("gen_1", 0)]
    assert read == []


def test_a_sidecar_without_its_generation_is_orphaned(darkroom: Darkroom, archive: S3Archive, ledger: Ledger) -> None:
    folder = f"{archive.keys.prefix}/2026/11/21/single"
    strange = {"a": b'{"id": "gen_unknown"}', "b": b"[]", "c": b"\xff", "d": b"{}", "e": b'{"id": 7}'}
    for name, content in strange.items():
        put(archive, f"{folder}/{name}/generation.json", content)
    assert verified(darkroom, exit_code=1)["orphaned"] == [f"{folder}/{name}/generation.json" for name in strange]


def test_two_generations_may_share_an_object(darkroom: Darkroom, archive: S3Archive, ledger: Ledger) -> None:
    (first,) = kept(ledger, archive, 1)
    succeeded(ledger)
    (claim,) = ledger.assets.claim(1, LEASE)
    copy = Stored(
        index=0,
        object_key=str(first.object_key),
        sha256=str(first.sha256),
        bytes=first.bytes or 0,
        content_type="image/png",
    )
    ledger.assets.record([Archived(claim, (copy,), described=True)])
    description = sidecar(one(ledger, claim.generation), [first], claim.lineage)
    put(archive, archive.keys.sidecar(claim.generation, claim.lineage), description)
    assert verified(darkroom) == NOTHING | {"checked": 2}
    delete(archive, first.object_key)
    assert verified(darkroom, exit_code=1)["missing"] == [first.object_key]
    assert f"of {first.generation_id}, {claim.generation.id}" in darkroom("verify").stdout


def test_an_object_that_cannot_be_read_is_neither_whole_nor_missing(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger, rclone: s3.Server
) -> None:
    assets = kept(ledger, archive, 3)
    # rclone believes for a while that the file is there.
    (Path(str(rclone.folder)) / s3.BUCKET / str(assets[1].object_key)).unlink()
    document = verified(darkroom, exit_code=1)
    assert (document["checked"], list(document["unread"])) == (2, [assets[1].object_key])
    assert "unreachable" in document["unread"][assets[1].object_key]
    assert "unread    " in darkroom("verify").stdout


def test_a_bucket_that_goes_away_ends_it(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(ledger, archive, 6)

    def away(*_: object) -> None:
        raise ArchiveError("the bucket is away")

    monkeypatch.setattr(audit, "GIVE_UP", 3)
    monkeypatch.setattr(S3Archive, "verify", away)
    result = darkroom("verify", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "stopped after 0 objects: the bucket is away" in result.stderr


def test_a_bucket_that_is_not_there_is_one_sentence(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_BUCKET", "nowhere")
    result = darkroom("verify")
    assert result.exit_code == 1
    assert "create the bucket" in result.stderr


def test_the_progress_goes_to_standard_error(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(ledger, archive, 2)
    monkeypatch.setattr("tasks.cli.ui.counting._PAUSE", 0)
    result = darkroom("verify", "--json")
    assert result.stderr == "1 of 2 read\n2 of 2 read\n"


def test_known_keys_are_told_from_strangers() -> None:
    known = audit.KnownKeys()
    assert "a" not in known
    for number in range(1000):
        known.add(f"key {number}")
    assert all(f"key {number}" in known for number in range(1000))
    assert not any(f"key {number}" in known for number in range(1000, 2000))
    known.add("late")
    assert "late" in known


def test_the_extent_of_a_time_is_its_end_not_its_beginning(
    darkroom: Darkroom, archive: S3Archive, ledger: Ledger
) -> None:
    (asset,) = kept(ledger, archive, 1)
    ended = one(ledger, asset.generation_id).finished_at
    assert ended is not None
    with ledger.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE generations SET finished_at = ?",
            ((ended - timedelta(hours=3)).replace(tzinfo=None).isoformat(sep=" "),),
        )
    assert verified(darkroom, "--since", "2h")["checked"] == 0
    assert verified(darkroom, "--since", "4h")["checked"] == 1
