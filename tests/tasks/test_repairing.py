"""`darkroom verify --repair`: the recorded bytes are put back where they can still be had, and never any others."""

import json
from pathlib import Path

import pytest

from tests.pipeline import Pipeline, Start, sha256
from tests.s3 import BUCKET, boto3_client
from tests.tasks.cli.conftest import Darkroom
from worker.generation import Asset, Operation


def archived(pipeline: Pipeline, prompt: str = "a lighthouse", **facts: object) -> Asset:
    (generation_id,) = pipeline.submit(prompt, **facts)  # type: ignore[arg-type]
    pipeline.until_settled()
    (asset,) = pipeline.assets(generation_id)
    assert asset.object_key is not None
    return asset


def broken(pipeline: Pipeline, asset: Asset, harm: str) -> None:
    bucket = boto3_client(pipeline.here.archive)
    if harm == "missing":
        bucket.delete_object(Bucket=BUCKET, Key=asset.object_key)
    else:
        bucket.put_object(Bucket=BUCKET, Key=asset.object_key, Body=b"X")


def verified(tmp_path: Path, exit_code: int, *arguments: str) -> dict:
    result = Darkroom(tmp_path)("verify", "--json", *arguments)
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def with_url(pipeline: Pipeline, asset: Asset, url: str) -> None:
    with pipeline.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE assets SET url = ? WHERE id = ?", (url, asset.id))


@pytest.mark.parametrize(("harm", "provenance"), [("missing", "off"), ("changed", "xmp")])
def test_what_is_broken_is_put_back_bit_by_bit(start: Start, tmp_path: Path, harm: str, provenance: str) -> None:
    pipeline = start(DARKROOM_PROVENANCE=provenance)
    asset = archived(pipeline)
    broken(pipeline, asset, harm)
    assert verified(tmp_path, 1)[harm] == [asset.object_key]
    document = verified(tmp_path, 0, "--repair")
    assert (document[harm], document["repaired"], document["not_repaired"]) == (
        [asset.object_key],
        [asset.object_key],
        {},
    )
    assert sha256(pipeline.objects()[str(asset.object_key)]) == asset.sha256
    assert verified(tmp_path, 0, "--repair")["repaired"] == []
    event = pipeline.story(asset.generation_id).events[-1]
    assert (event.type, event.payload["found"]) == ("asset.repaired", harm)
    assert pipeline.charges() == 1


def test_a_dead_link_is_renewed_first(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    asset = archived(pipeline)
    with_url(pipeline, asset, f"{asset.url.partition('?')[0]}?ex=1&is=1&hm=00")
    broken(pipeline, asset, "missing")
    assert verified(tmp_path, 0, "--repair")["repaired"] == [asset.object_key]
    assert sha256(pipeline.objects()[str(asset.object_key)]) == asset.sha256


def test_other_bytes_never_take_the_place_of_the_recorded_ones(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    asset, other = archived(pipeline), archived(pipeline, "a fox")
    with_url(pipeline, asset, other.url)
    broken(pipeline, asset, "changed")
    document = verified(tmp_path, 1, "--repair")
    assert document["repaired"] == []
    assert "now returns different bytes" in document["not_repaired"][asset.object_key]
    assert pipeline.objects()[str(asset.object_key)] == b"X"
    told = Darkroom(tmp_path)("verify", "--repair").stdout
    why = "its link now returns different bytes"
    assert f"changed   {asset.object_key}  of {asset.generation_id}; not repaired: {why}" in told


def test_what_is_gone_for_good_is_said_without_its_signature(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    asset = archived(pipeline)
    with pipeline.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE generations SET task_id = NULL")
    with_url(pipeline, asset, f"{asset.url.partition('?')[0]}?ex=1&is=1&hm=0123456789abcdef")
    broken(pipeline, asset, "missing")
    reason = verified(tmp_path, 1, "--repair")["not_repaired"][asset.object_key]
    assert "the provider offers no other link" in reason
    assert "0123456789abcdef" not in reason


def test_a_text_comes_out_of_the_ledger(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    asset = archived(pipeline, "un phare dans la brume", operation=Operation.TRANSLATE)
    assert asset.content is not None
    broken(pipeline, asset, "changed")
    assert verified(tmp_path, 0, "--repair")["repaired"] == [asset.object_key]
    assert json.loads(pipeline.objects()[str(asset.object_key)]) == asset.content


def test_a_link_that_was_pruned_is_asked_for_anew(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    asset = archived(pipeline)
    with_url(pipeline, asset, "")
    broken(pipeline, asset, "missing")
    assert verified(tmp_path, 0, "--repair")["repaired"] == [asset.object_key]
    assert sha256(pipeline.objects()[str(asset.object_key)]) == asset.sha256
