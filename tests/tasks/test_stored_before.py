"""A result whose link is dead is not lost if it is in the bucket, whoever put it there and could not say so."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks.archive import ASKED_AT, MAX_TRIES
from tasks.usecases.metrics import Histogram
from tests.commands import darkroom
from tests.crash_steps import ARCHIVE
from tests.crashing import AFTER_THE_LEASE, CRASHED, Step, crash
from tests.factories import claimed
from tests.pipeline import Pipeline, Start, sha256
from tests.s3 import boto3_client
from tests.tasks.test_accepting import SPOILED, accept
from tests.tasks.test_accepting import refused as refused_generation
from tests.tasks.test_hostile_links import PNG
from tests.tasks.test_not_given_up import go_on
from tests.tasks.test_restore import backup, restore
from tests.tasks.usecases.test_metrics import read
from tests.worker.downloads.test_download import RawServer, ok, reply, serving
from worker.archive import sidecar
from worker.archive.s3 import S3Archive
from worker.archive.signed_requests import SignedRequests
from worker.errors import ArchiveError, ConfigurationError, ContentInvalid, DownloadError, NotFound
from worker.generation import Asset, AssetState, Lineage, Link, Outcome, State, Status
from worker.ledger.outcome import News

GONE = reply("410 Gone")


@pytest.fixture
def pipeline(start: Start) -> Pipeline:
    return start()


@contextmanager
def dying_link() -> Iterator[tuple[RawServer, dict[str, bytes]]]:
    """A host whose answer a test changes."""
    answers = {"now": ok(PNG)}
    with serving(lambda _: answers["now"]) as server:
        yield server, answers


def succeeded(pipeline: Pipeline, server: RawServer, *, links: int = 1, ends: bool = True, **facts: object) -> str:
    """A success whose links end within the hour, or nobody knows when."""
    (claim,) = claimed(pipeline.ledger, **facts)
    deadline = (pipeline.clock() + timedelta(hours=1)).replace(microsecond=0)
    query = f"?ex={int(deadline.timestamp()):x}&hm=SECRET" if ends else ""
    outcome = Outcome(
        status=Status.SUCCEEDED,
        task_id=f"t-{claim.attempt_id}",
        links=tuple(Link(f"http://127.0.0.1:{server.port}/{index}.png{query}") for index in range(links)),
    )
    news = News(attempt_id=claim.attempt_id, outcome=outcome, cause="callback", deadlines=(deadline,) * links)
    pipeline.ledger.generations.apply_outcomes([news])
    return claim.generation.id


def key_of(pipeline: Pipeline, generation_id: str, index: int = 0, extension: str = "png") -> str:
    generation = pipeline.get(generation_id)
    return pipeline.here.archive.keys.asset(generation, Lineage.of_root(generation, None), index, extension)


def put(pipeline: Pipeline, key: str, content: bytes = PNG, **metadata: str) -> str:
    noted = {name.replace("_", "-"): value for name, value in metadata.items()}
    pipeline.here.archive.overwrite(key, content, content_type="image/png", metadata=noted)
    return key


def put_sidecar(pipeline: Pipeline, generation_id: str, of: str, **facts: object) -> None:
    """What says that the folder of one generation has the image of another one, or of itself."""
    document = {"id": of, "assets": [{"object_key": key_of(pipeline, generation_id), **facts}]}
    generation = pipeline.get(generation_id)
    key = pipeline.here.archive.keys.sidecar(generation, Lineage.of_root(generation, None))
    pipeline.here.archive.overwrite(key, json.dumps(document).encode(), content_type="application/json", metadata={})


def the_asset(pipeline: Pipeline, generation_id: str) -> Asset:
    (asset,) = pipeline.assets(generation_id)
    return asset


def is_archived(pipeline: Pipeline, generation_id: str) -> bool:
    """As any other: known, described, and told to subscribers."""
    generation, asset = pipeline.get(generation_id), the_asset(pipeline, generation_id)
    lineage = Lineage.of_root(generation, None)
    described = pipeline.objects().get(pipeline.here.archive.keys.sidecar(generation, lineage), b"{}")
    expected = json.loads(sidecar(generation, [asset], lineage))
    told = [event.type for event in pipeline.story(generation_id).events]
    return (
        generation.state is State.ARCHIVED
        and sha256(pipeline.objects()[str(asset.object_key)]) == asset.sha256
        and json.loads(described).get("assets") == expected["assets"]
        and told.count("asset.archived") == 1
        and "asset.expired" not in told
    )


def test_what_a_worker_stored_right_before_it_was_killed_is_archived_although_its_link_died(pipeline: Pipeline) -> None:
    with dying_link() as (server, answers):
        one = succeeded(pipeline, server)
        assert crash(pipeline, "archive", ARCHIVE["stored"]) == CRASHED
        assert the_asset(pipeline, one).state is AssetState.WAITING
        answers["now"] = GONE
        go_on(pipeline, hours=2)
    assert is_archived(pipeline, one)
    asset = the_asset(pipeline, one)
    assert (asset.width, asset.height, asset.content_type, asset.verified) == (32, 32, "image/png", "bytes")
    # Else a restore would look as if everything was archived in the last second.
    (shares,) = read(pipeline.here, "archive_link_life_left_ratio").values()
    assert isinstance(shares, Histogram)
    assert dict(shares.buckets)["+Inf"] == 0


@pytest.mark.parametrize("provenance", ["off", "xmp"])
def test_what_a_restored_ledger_has_forgotten_is_archived_although_its_link_died(
    start: Start, tmp_path: Path, provenance: str
) -> None:
    pipeline = start(DARKROOM_PROVENANCE=provenance)
    with dying_link() as (server, answers):
        one = succeeded(pipeline, server)
        copy = backup(tmp_path)
        go_on(pipeline)
        before = the_asset(pipeline, one)
        restore(pipeline, copy, tmp_path)
        answers["now"] = GONE
        go_on(pipeline, hours=2)
    assert is_archived(pipeline, one)
    after = the_asset(pipeline, one)
    assert (after.object_key, after.sha256, after.source_sha256) == (
        before.object_key,
        before.sha256,
        before.source_sha256,
    )
    assert (after.source_sha256 is not None) == (provenance == "xmp")


def test_a_link_that_may_come_back_is_not_waited_for(pipeline: Pipeline) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server, ends=False)
        put(pipeline, key_of(pipeline, one), generation_id=one)
        go_on(pipeline)
    assert the_asset(pipeline, one).tries == 1
    assert is_archived(pipeline, one)


@pytest.mark.parametrize("shown_by", ["its metadata", "its sidecar", "its folder"])
def test_a_store_that_keeps_no_metadata_does_not_hide_whose_it_is(pipeline: Pipeline, shown_by: str) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        # The folder of one without a key has its id.
        one = succeeded(pipeline, server, key=None if shown_by == "its folder" else "order-17")
        put(pipeline, key_of(pipeline, one), **({"generation_id": one} if shown_by == "its metadata" else {}))
        if shown_by == "its sidecar":
            put_sidecar(pipeline, one, one, sha256=sha256(PNG), source_sha256="ab" * 32)
        go_on(pipeline, hours=2)
    assert is_archived(pipeline, one)
    assert the_asset(pipeline, one).source_sha256 == ("ab" * 32 if shown_by == "its sidecar" else None)


OTHER = f"gen_{'0' * 32}"


@pytest.mark.parametrize(
    ("shown_by", "why"),
    [
        ("its metadata", f"it belongs to {OTHER}"),
        ("its sidecar", f"it belongs to {OTHER}"),
        ("nothing", "nothing shows that it belongs to this generation"),
    ],
)
def test_the_object_of_another_generation_in_the_same_place_is_not_taken(
    pipeline: Pipeline, shown_by: str, why: str
) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server, key="order-17")
        key = put(pipeline, key_of(pipeline, one), **({"generation_id": OTHER} if shown_by == "its metadata" else {}))
        if shown_by == "its sidecar":
            put_sidecar(pipeline, one, OTHER, sha256=sha256(PNG))
        go_on(pipeline, hours=2)
    lost = pipeline.get(one)
    assert (lost.state, lost.reason) == (State.EXPIRED, "link_dead")
    assert f'the link expired at {the_asset(pipeline, one).deadline:%Y-%m-%d %H:%M} UTC; "{key}" is in the ' in str(
        lost.message
    )
    assert str(lost.message).endswith(f"is in the bucket, but {why}")
    assert pipeline.objects()[key] == PNG


def test_the_eleventh_image_is_not_taken_for_the_second(pipeline: Pipeline) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server, links=11)
        put(pipeline, key_of(pipeline, one, 10), generation_id=one)
        go_on(pipeline, hours=2)
    assert [asset.index for asset in pipeline.assets(one) if asset.state is AssetState.STORED] == [10]
    assert pipeline.get(one).state is State.EXPIRED


@pytest.mark.parametrize(("beside", "form"), [("0.thumb.webp", "WEBP"), ("0.psd", "PNG"), ("0.jpg", "PNG")])
def test_what_else_lies_beside_it_is_not_taken_for_it(pipeline: Pipeline, beside: str, form: str) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, form)
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        put(pipeline, f"{key_of(pipeline, one).rpartition('/')[0]}/{beside}", file.getvalue())
        go_on(pipeline, hours=2)
    assert pipeline.get(one).state is State.EXPIRED


def test_another_format_of_a_user_does_not_hide_the_image(pipeline: Pipeline) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        put(pipeline, key_of(pipeline, one, extension="gif"), b"GIF89a of somebody")
        put(pipeline, key_of(pipeline, one), generation_id=one)
        go_on(pipeline, hours=2)
    assert is_archived(pipeline, one)


def test_a_copy_that_a_user_made_beside_the_image_is_not_taken_for_it(pipeline: Pipeline) -> None:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "JPEG")
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        put(pipeline, key_of(pipeline, one, extension="jpg"), file.getvalue())
        put(pipeline, key_of(pipeline, one))
        put_sidecar(pipeline, one, one, sha256=sha256(PNG))
        go_on(pipeline, hours=2)
    assert the_asset(pipeline, one).object_key == key_of(pipeline, one)
    assert is_archived(pipeline, one)


@pytest.mark.parametrize("harm", ["cut off", "not as it was stored"])
def test_a_broken_object_is_not_taken(pipeline: Pipeline, harm: str) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        put(pipeline, key_of(pipeline, one), PNG[:-20] if harm == "cut off" else PNG)
        if harm == "not as it was stored":
            put_sidecar(pipeline, one, one, sha256="ab" * 32)
        go_on(pipeline, hours=2)
    lost = pipeline.get(one)
    assert lost.state is State.EXPIRED
    expected = {"cut off": "is truncated", "not as it was stored": "it has different bytes than were stored"}
    assert expected[harm] in str(lost.message)


@pytest.mark.parametrize("document", [b"\xff", b"[]", b'{"assets": 3}', b'{"assets": [[]]}', b"[" * 100_000])
def test_a_sidecar_that_somebody_has_changed_shows_nothing(pipeline: Pipeline, document: bytes) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        key = put(pipeline, key_of(pipeline, one))
        put(pipeline, f"{key.rpartition('/')[0]}/generation.json", document)
        go_on(pipeline, hours=2)
    assert is_archived(pipeline, one)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ArchiveError("the store answered 503"), "store"),
        (ConfigurationError("the keys are wrong"), "setting"),
        (DownloadError("the decoder did not start"), "no_answer"),
        (KeyError("a bug"), "unexpected"),
    ],
)
@pytest.mark.parametrize("verb", ["list", "metadata", "read"])
def test_while_the_bucket_cannot_tell_nothing_is_lost(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, verb: str, error: Exception, reason: str
) -> None:
    def away(*_: object) -> None:
        raise error

    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        put(pipeline, key_of(pipeline, one), generation_id=one)
        with monkeypatch.context() as outage:
            outage.setattr(S3Archive, verb, away)
            go_on(pipeline, hours=2)
        asset = the_asset(pipeline, one)
        assert (asset.state, asset.reason) == (AssetState.WAITING, reason)
        assert "it may be in the bucket, where it could not be looked for: " in str(asset.error)
        go_on(pipeline, hours=7)
    assert is_archived(pipeline, one)


def test_a_bucket_that_is_away_at_the_first_look_does_not_hide_what_the_link_says(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise ArchiveError("the store answered 503")

    monkeypatch.setattr(S3Archive, "list", away)
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server, ends=False)
        go_on(pipeline)
    asset = the_asset(pipeline, one)
    assert (asset.reason, "the store answered" in str(asset.error)) == ("not_found", False)


def test_it_is_looked_for_a_last_time_before_it_is_abandoned(pipeline: Pipeline) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server, ends=False)
        for _ in range(6):
            go_on(pipeline, days=2.4)
        assert pipeline.get(one).state is State.SUCCEEDED
        # Somebody restores the bucket, too.
        put(pipeline, key_of(pipeline, one), generation_id=one)
        go_on(pipeline, days=2.4)
    assert the_asset(pipeline, one).tries not in ASKED_AT
    assert is_archived(pipeline, one)


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("command", [["retry"], ["dead", "replay", "--all", "--kind", "assets"]])
def test_what_an_earlier_version_took_for_lost_comes_back_with_one_command(
    pipeline: Pipeline, command: list[str], ends: bool
) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server, ends=ends)
        go_on(pipeline, days=16)
        assert pipeline.get(one).state is State.EXPIRED
        put(pipeline, key_of(pipeline, one), generation_id=one)
        assert darkroom(*command, *([one] if command == ["retry"] else [])).exit_code == 0
        go_on(pipeline)
    assert pipeline.get(one).state is State.ARCHIVED
    assert the_asset(pipeline, one).error is None


def test_what_killed_workers_and_is_in_the_bucket_is_not_abandoned(pipeline: Pipeline) -> None:
    with dying_link() as (server, answers):
        one = succeeded(pipeline, server)
        for _ in range(MAX_TRIES):
            assert crash(pipeline, "archive", ARCHIVE["stored"]) == CRASHED
            pipeline.clock.advance(seconds=AFTER_THE_LEASE)
        answers["now"] = GONE
        go_on(pipeline, days=16)
    assert the_asset(pipeline, one).state is AssetState.STORED
    assert is_archived(pipeline, one)


def test_what_a_person_had_accepted_is_still_accepted(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    one = refused_generation(pipeline)
    accept(one, "--yes")
    copy = backup(tmp_path)
    go_on(pipeline, hours=2)
    restore(pipeline, copy, tmp_path)
    # Its server is gone.
    go_on(pipeline, days=16)
    assert is_archived(pipeline, one)
    asset = the_asset(pipeline, one)
    assert asset.accepted is not None
    assert (pipeline.objects()[str(asset.object_key)], asset.width) == (SPOILED, None)


def test_the_images_of_a_grid_that_was_deleted_are_found(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    (parent,) = pipeline.submit("a fox", follow_up=("split",))
    for step in ("dispatch", "submit"):
        pipeline.step(step)
    pipeline.until_called_back(parent)
    for step in ("ingest", "archive", "follow_up"):
        pipeline.step(step)
    (child,) = (one.id for one in pipeline.story(parent).children)
    copy = backup(tmp_path)
    assert {asset.state for asset in pipeline.assets(child)} == {AssetState.WAITING}
    pipeline.until_settled()
    before = [(asset.object_key, asset.sha256) for asset in pipeline.assets(child)]
    restore(pipeline, copy, tmp_path)
    assert darkroom("delete", parent, "--yes").exit_code == 0
    pipeline.bells.append("archive")
    pipeline.until(lambda: pipeline.get(child).state is not State.SUCCEEDED)
    assert pipeline.get(child).state is State.ARCHIVED
    assert [(asset.object_key, asset.sha256) for asset in pipeline.assets(child)] == before


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize("has_metadata", [True, False])
def test_a_persons_copy_is_not_taken_for_the_image_although_no_sidecar_tells_them_apart(
    pipeline: Pipeline, has_metadata: bool
) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        copy = put(pipeline, key_of(pipeline, one, extension="jpg"), jpeg())
        put(pipeline, key_of(pipeline, one), **({"generation_id": one} if has_metadata else {}))
        go_on(pipeline, hours=2)
    if has_metadata:
        assert is_archived(pipeline, one)
        assert the_asset(pipeline, one).object_key == key_of(pipeline, one)
    else:
        assert f'"{copy}" is in the bucket, but nothing shows that it belongs' in str(pipeline.get(one).message)
    assert pipeline.objects()[copy] == jpeg()


def test_an_object_of_another_index_under_a_name_of_its_own_is_not_taken(pipeline: Pipeline) -> None:
    """Copies within the bucket keep their metadata."""
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        put(pipeline, key_of(pipeline, one, extension="jpg"), generation_id=one)
        go_on(pipeline, hours=2)
    assert pipeline.get(one).state is State.EXPIRED
    assert str(pipeline.get(one).message).endswith("is in the bucket, but it is image/png")


def test_an_upload_that_was_never_completed_is_not_taken(pipeline: Pipeline) -> None:
    client = boto3_client(pipeline.here.archive)
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        where = {"Bucket": pipeline.here.archive.bucket, "Key": key_of(pipeline, one)}
        begun = client.create_multipart_upload(**where, Metadata={"generation-id": one, "sha256": sha256(PNG)})
        client.upload_part(**where, UploadId=begun["UploadId"], PartNumber=1, Body=PNG)
        go_on(pipeline, hours=2)
    client.abort_multipart_upload(**where, UploadId=begun["UploadId"])
    assert pipeline.get(one).state is State.EXPIRED
    assert "is in the bucket" not in str(pipeline.get(one).message)


@pytest.mark.parametrize("provenance", ["its metadata", "its sidecar"])
def test_what_was_stored_is_not_lost_because_a_decoder_lacks_time(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, provenance: str
) -> None:
    def too_slow(*_: object) -> None:
        raise ContentInvalid("the image does not decode within 20 s")

    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server, key="order-17")
        put(pipeline, key_of(pipeline, one), **({"generation_id": one} if provenance == "its metadata" else {}))
        if provenance == "its sidecar":
            put_sidecar(pipeline, one, one, sha256=sha256(PNG))
        monkeypatch.setattr("tasks.stored_before.inspect", too_slow)
        go_on(pipeline, hours=2)
    assert is_archived(pipeline, one)
    assert the_asset(pipeline, one).remark == "taken as it was stored, although the image does not decode within 20 s"


def test_what_was_accepted_after_the_backup_is_not_lost(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    one = refused_generation(pipeline)
    copy = backup(tmp_path)
    accept(one, "--yes")
    go_on(pipeline, hours=2)
    assert is_archived(pipeline, one)
    restore(pipeline, copy, tmp_path)
    go_on(pipeline, days=16)
    assert is_archived(pipeline, one)
    assert pipeline.objects()[str(the_asset(pipeline, one).object_key)] == SPOILED


def test_an_object_that_is_listed_and_not_found_is_waited_for(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: object, key: str) -> None:
        raise NotFound(f'there is no "{key}"')

    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        key = put(pipeline, key_of(pipeline, one), generation_id=one)
        with monkeypatch.context() as replica:
            replica.setattr(S3Archive, "metadata", missing)
            go_on(pipeline, hours=2)
        assert the_asset(pipeline, one).state is AssetState.WAITING
        assert f'"{key}" is listed, but cannot be read' in str(the_asset(pipeline, one).error)
        go_on(pipeline, hours=7)
    assert is_archived(pipeline, one)


def test_a_result_that_is_only_late_costs_one_listing_now_and_then_and_a_healthy_one_none(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    send = SignedRequests.send

    def counted(self: SignedRequests, method: str, key: str, **more: Any) -> Any:
        asked.append(f"{method} {'list' if not key else 'object'}")
        return send(self, method, key, **more)

    monkeypatch.setattr(SignedRequests, "send", counted)
    with dying_link() as (server, answers):
        answers["now"] = reply("404 Not Found")
        one = succeeded(pipeline, server, ends=False)
        costs = []
        for _ in range(8):
            asked.clear()
            go_on(pipeline, minutes=5)
            costs.append(list(asked))
        assert the_asset(pipeline, one).tries == 8
        answers["now"] = ok(PNG)
        asked.clear()
        go_on(pipeline, hours=1)
    assert is_archived(pipeline, one)
    assert [number for number, cost in enumerate(costs, 1) if cost] == [1, 6]
    assert [cost for cost in costs if cost] == [["GET list"]] * 2
    assert "GET list" not in asked


def test_bytes_that_are_set_aside_while_the_image_is_found_are_not_left_behind(pipeline: Pipeline) -> None:
    with dying_link() as (server, answers):
        answers["now"] = ok(PNG[:-20])
        one = succeeded(pipeline, server, ends=False)
        for _ in range(5):
            go_on(pipeline, minutes=5)
        put(pipeline, key_of(pipeline, one), generation_id=one)
        go_on(pipeline, minutes=5)
    assert is_archived(pipeline, one)
    assert [key for key in pipeline.objects() if "rejected" in key] == []


def test_an_object_that_kills_whoever_looks_at_it_comes_to_an_end(pipeline: Pipeline) -> None:
    with dying_link() as (server, answers):
        answers["now"] = GONE
        one = succeeded(pipeline, server)
        key = put(pipeline, key_of(pipeline, one), generation_id=one)
        pipeline.clock.advance(hours=24 * 16)
        looking, deaths = Step("before", "tasks.archive", "stored_before"), 0
        while crash(pipeline, "archive", looking) == CRASHED and deaths < 3 * MAX_TRIES:
            deaths += 1
            pipeline.clock.advance(seconds=AFTER_THE_LEASE)
    assert deaths == 2 * MAX_TRIES
    assert (pipeline.get(one).state, pipeline.objects()[key]) == (State.EXPIRED, PNG)
