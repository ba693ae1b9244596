"""Manifests, provenance and duplicates, through the whole flow."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from PIL import Image

from tasks import manifest
from tasks.usecases.verify import VerifyRequest, verify
from tests.pipeline import Pipeline, Start, sha256
from tests.s3 import BUCKET, Server, boto3_client
from worker.archive import Kind
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError, ConfigurationError, DarkroomError
from worker.generation import GenerationRequest, Lineage, Operation, State
from worker.ledger.assets import PAGE
from worker.ledger.generations import NewGeneration


def batch_of(pipeline: Pipeline, *prompts: str, name: str = "cats", **facts: object) -> str:
    wanted = [
        NewGeneration(
            provider="acedata", request=GenerationRequest(operation=Operation.IMAGINE, prompt=prompt), **facts
        )  # type: ignore[arg-type]
        for prompt in prompts
    ]
    made = pipeline.ledger.generations.create(wanted, name)
    pipeline.bells.append("dispatch")
    return str(made[0].batch_id)


def manifest_of(pipeline: Pipeline, batch_id: str, name: str = "cats") -> list[dict]:
    with pipeline.here.archive.read(pipeline.here.archive.keys.manifest(batch_id, name)) as pieces:
        return [json.loads(line) for line in b"".join(pieces).decode().splitlines()]


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[Server]:
    """A store that, unlike rclone, overwrites nothing unless it is told to."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield Server("moto", f"http://{host}:{port}", tmp_path)
    server.stop()


def test_a_complete_batch_has_a_manifest_with_a_line_for_each_generation(start: Start) -> None:
    pipeline = start()
    batch_id = batch_of(pipeline, "a fox", "a cat sandbox:reject", follow_up=("upscale1",))
    pipeline.until_settled()
    lines = manifest_of(pipeline, batch_id)
    assert [(line["prompt"], line["action"], line["state"]) for line in lines] == [
        ("a fox", None, "archived"),
        ("a cat sandbox:reject", None, "failed"),
        ("a fox", "upscale1", "archived"),
    ]
    fox, cat, upscaled = lines
    assert (cat["reason"], cat["assets"]) == ("forbidden", [])
    assert (upscaled["parent"], fox["parent"]) == (fox["id"], None)
    assert fox["task_id"] == pipeline.get(fox["id"]).task_id
    objects = pipeline.objects()
    for line in (fox, upscaled):
        (asset,) = line["assets"]
        assert sha256(objects[asset["object_key"]]) == asset["sha256"]
        assert len(objects[asset["object_key"]]) == asset["bytes"]


def test_what_is_tried_again_is_told_in_the_next_manifest(start: Start, moto: Server) -> None:
    pipeline = start(server=moto)
    boto3_client(pipeline.here.archive).create_bucket(Bucket=BUCKET)
    batch_id = batch_of(pipeline, "a fox sandbox:fail")
    pipeline.until_settled()
    (before,) = manifest_of(pipeline, batch_id)
    pipeline.ledger.generations.retry([before["id"]])
    pipeline.ledger.generations.cancel([before["id"]])
    pipeline.until_settled()
    (after,) = manifest_of(pipeline, batch_id)
    assert (before["state"], after["state"]) == ("failed", "cancelled")


@pytest.mark.parametrize("error", [ArchiveError("the bucket is away"), ConfigurationError("the keys are wrong")])
def test_a_bucket_that_is_away_costs_only_time(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: DarkroomError
) -> None:
    pipeline = start()
    batch_id = batch_of(pipeline, "a fox")
    made = pipeline.ledger.generations.page(limit=1)
    pipeline.ledger.generations.cancel([made[0].id])
    with monkeypatch.context() as patch:

        def away(*_: object, **__: object) -> None:
            raise error

        patch.setattr(S3Archive, "store", away)
        pipeline.step("manifest")
    assert f": {error}" in caplog.text
    assert "Traceback" not in caplog.text
    assert pipeline.ledger.maintenance.due() == []
    pipeline.clock.advance(seconds=100)
    pipeline.until_settled()
    assert [line["state"] for line in manifest_of(pipeline, batch_id)] == ["cancelled"]


def test_a_manifest_of_several_pages_is_whole_and_in_order(start: Start) -> None:
    pipeline = start()
    batch_id = batch_of(pipeline, *(f"fox {number}" for number in range(PAGE + 3)))
    ids = [one.id for one in pipeline.ledger.generations.page(limit=PAGE + 3)][::-1]
    pipeline.ledger.generations.cancel(ids)
    pipeline.step("manifest")
    assert [line["id"] for line in manifest_of(pipeline, batch_id)] == ids


def test_the_results_of_a_complete_batch_lie_beside_its_manifest(start: Start) -> None:
    pipeline = start(DARKROOM_BATCH_RESULTS="csv, html")
    batch_id = batch_of(pipeline, "a fox", "a cat sandbox:reject")
    pipeline.until_settled()
    keys, objects = pipeline.here.archive.keys, pipeline.objects()
    folder = keys.manifest(batch_id, "cats").removesuffix("manifest.jsonl")
    assert {key: keys.kind(key) for key in objects if key.startswith(folder)} == {
        f"{folder}manifest.jsonl": Kind.MANIFEST,
        f"{folder}results.csv": Kind.RESULTS,
        f"{folder}results.html": Kind.RESULTS,
    }
    rows = list(csv.DictReader(io.StringIO(objects[f"{folder}results.csv"].decode("utf-8-sig"))))
    assert [(one["prompt"], one["state"], one["files"]) for one in rows] == [
        ("a fox", "archived", "1"),
        ("a cat sandbox:reject", "failed", "0"),
    ]
    assert objects[f"{folder}results.html"].count(b'src="data:image/webp;base64,') == 1
    assert verify(pipeline.here, VerifyRequest()).is_intact


def test_results_that_take_too_long_are_told_and_the_manifest_is_written_all_the_same(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(manifest, "RESULTS", timedelta(seconds=-1))
    pipeline = start(DARKROOM_BATCH_RESULTS="csv")
    batch_id = batch_of(pipeline, "a cat sandbox:reject")
    pipeline.until_settled()
    assert [line["state"] for line in manifest_of(pipeline, batch_id)] == ["failed"]
    assert f"batch {batch_id} has no results beside its manifest" in caplog.text
    assert pipeline.here.archive.keys.results(batch_id, "cats", "csv") not in pipeline.objects()


def test_a_picture_is_marked_and_both_hashes_are_told(start: Start) -> None:
    pipeline = start(DARKROOM_PROVENANCE="xmp")
    (generation_id,) = pipeline.submit("a lighthouse")
    pipeline.until_settled()
    (asset,) = pipeline.assets(generation_id)
    objects = pipeline.objects()
    stored = objects[str(asset.object_key)]
    assert sha256(stored) == asset.sha256
    assert {asset.source_sha256} == pipeline.served_hashes()
    with Image.open(io.BytesIO(stored)) as image:
        assert f'dc:identifier="{generation_id}"' in image.info["XML:com.adobe.xmp"]
    described = pipeline.get(generation_id)
    key = pipeline.here.archive.keys.sidecar(described, Lineage.of_root(described, None))
    sidecar = json.loads(objects[key])
    (told,) = sidecar["assets"]
    assert (told["sha256"], told["source_sha256"]) == (asset.sha256, asset.source_sha256)
    assert (told["bytes"], told["verified"]) == (len(stored), "checksum")


def another_of_the_same(pipeline: Pipeline, first: str) -> str:
    """An archived generation for which the provider gives the picture of the first one."""
    (second,) = pipeline.submit("a lighthouse")
    waiting = list(pipeline.bells)
    while pipeline.get(second).state is not State.SUCCEEDED:
        pipeline.bells.clear()
        for bell in waiting or ["reconcile"]:
            pipeline.step(bell)
        waiting = [bell for bell in pipeline.bells if bell != "archive"]
    same = "UPDATE assets SET url = (SELECT url FROM assets WHERE generation_id = ?) WHERE generation_id = ?"
    with pipeline.ledger.database.write() as connection:
        connection.exec_driver_sql(same, (first, second))
    pipeline.until_settled()
    return second


def two_of_the_same(pipeline: Pipeline) -> tuple[str, str]:
    (first,) = pipeline.submit("a lighthouse")
    pipeline.until_settled()
    return first, another_of_the_same(pipeline, first)


def test_the_same_bytes_are_stored_once_if_so_set(start: Start) -> None:
    pipeline = start(DARKROOM_DEDUPLICATE="true")
    first, second = two_of_the_same(pipeline)
    (one,), (other,) = pipeline.assets(first), pipeline.assets(second)
    assert (one.object_key, one.sha256) == (other.object_key, other.sha256)
    names = [key.rpartition("/")[2] for key in pipeline.objects()]
    assert sorted(names) == ["0.png", "generation.json", "generation.json"]


def test_without_the_setting_they_are_stored_twice(start: Start) -> None:
    pipeline = start()
    first, second = two_of_the_same(pipeline)
    (one,), (other,) = pipeline.assets(first), pipeline.assets(second)
    assert one.object_key != other.object_key
    assert one.sha256 == other.sha256


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_an_object_that_is_broken_has_no_duplicates(start: Start, harm: str) -> None:
    pipeline = start(DARKROOM_DEDUPLICATE="true")
    (first,) = pipeline.submit("a lighthouse")
    pipeline.until_settled()
    (one,) = pipeline.assets(first)
    bucket = boto3_client(pipeline.here.archive)
    if harm == "missing":
        bucket.delete_object(Bucket=BUCKET, Key=one.object_key)
    else:
        bucket.put_object(Bucket=BUCKET, Key=one.object_key, Body=b"X")
    second = another_of_the_same(pipeline, first)
    (other,) = pipeline.assets(second)
    assert other.object_key != one.object_key
    assert sha256(pipeline.objects()[str(other.object_key)]) == one.sha256
