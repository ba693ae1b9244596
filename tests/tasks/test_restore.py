"""A ledger is restored from yesterday's copy: what was paid for meanwhile is not paid for again."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.commands import darkroom
from tests.pipeline import Pipeline, Start
from webhook.health import _check_restore_guard
from worker.errors import ArchiveError
from worker.generation import State


def document(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(darkroom("reconcile", "--json", *arguments).stdout)
    return found


def backup(tmp_path: Path) -> Path:
    copy = tmp_path / "backup.sqlite3"
    _copy(tmp_path / "ledger.sqlite3", copy)
    return copy


def restore(pipeline: Pipeline, copy: Path, tmp_path: Path) -> None:
    pipeline.ledger.close()
    _copy(copy, tmp_path / "ledger.sqlite3")
    pipeline.bells.clear()


def _copy(source: Path, target: Path) -> None:
    """By SQLite itself: the receiver may take a callback at this moment, and files that are in use do not mix."""
    with closing(sqlite3.connect(source)) as kept, closing(sqlite3.connect(target, timeout=20)) as replaced:
        kept.backup(replaced)


def is_closed(pipeline: Pipeline) -> bool:
    gate = pipeline.ledger.restore.state()
    return gate is not None and gate.closed_at is not None


@pytest.fixture
def restored(start: Start, tmp_path: Path) -> Pipeline:
    """Two pictures; one was made before the backup, and one waited then and was made (and paid for) after it."""
    pipeline = start()
    pipeline.submit("a red fox")
    pipeline.until_settled()
    pipeline.submit("a blue owl")
    copy = backup(tmp_path)
    pipeline.until_settled()
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    restore(pipeline, copy, tmp_path)
    assert pipeline.charges() == 2
    assert [one.state for one in pipeline.all()] == [State.ARCHIVED, State.QUEUED]
    return pipeline


def test_nothing_is_submitted_although_no_clock_has_run_yet(restored: Pipeline) -> None:
    pipeline = restored
    pipeline.clock.advance(seconds=31)
    pipeline.step("dispatch")
    pipeline.step("submit")
    assert is_closed(pipeline)
    pipeline.step("reconcile")
    pipeline.answer_bells()

    assert pipeline.charges() == 2
    assert pipeline.all()[1].state is State.QUEUED


@pytest.mark.parametrize("task", ["dispatch", "submit", "reconcile"])
def test_whichever_wakes_first_looks_at_the_bucket(start: Start, tmp_path: Path, task: str) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a red fox")
    pipeline.step("dispatch")
    copy = backup(tmp_path)
    pipeline.step("submit")
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    restore(pipeline, copy, tmp_path)
    pipeline.step(task)
    assert is_closed(pipeline)
    assert pipeline.get(generation_id).state is State.QUEUED
    assert pipeline.charges() == 1


def test_everybody_says_so_in_one_sentence(restored: Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    restored.clock.advance(seconds=31)
    restored.step("reconcile")
    sentence = "the ledger is older than its marker in the bucket"
    assert f"submissions are paused: {sentence}" in caplog.text

    submitted = darkroom("submit", "a green toad")
    assert submitted.exit_code == 0
    assert f"saved, but submissions are paused: {sentence}" in submitted.stderr
    (found,) = [
        one for one in json.loads(darkroom("doctor", "--json").stdout)["checks"] if one["check"] == "restore guard"
    ]
    assert found["verdict"] == "fail"
    assert sentence in found["message"]
    finding = _check_restore_guard(restored.ledger)
    assert finding.status == "degraded"
    assert sentence in finding.detail
    looked = darkroom("reconcile")
    assert looked.exit_code == 1, "submissions are stopped"
    assert sentence in looked.stdout
    assert "check kie's dashboard and `darkroom cancel` any queued generation" in looked.stdout
    assert "then `darkroom reconcile --confirm`" in looked.stdout


def test_while_the_bucket_is_away_it_waits_and_everybody_says_so(
    restored: Pipeline, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(_: object) -> None:
        raise ArchiveError("it answers 503")

    pipeline = restored
    pipeline.clock.advance(hours=1)
    sentence = "the ledger has been idle since "
    with monkeypatch.context() as patch:
        for place in ("tasks.restore_marker.read", "tasks.usecases.restore.read"):
            patch.setattr(place, away)
        pipeline.step("dispatch")
        pipeline.step("submit")
        pipeline.answer_bells()
        assert pipeline.all()[1].state is State.QUEUED
        assert f"submissions are paused: {sentence}" in caplog.text
        (found,) = [
            one for one in json.loads(darkroom("doctor", "--json").stdout)["checks"] if one["check"] == "restore guard"
        ]
        assert found["verdict"] == "fail"
        assert sentence in found["message"]
        finding = _check_restore_guard(pipeline.ledger)
        assert finding.status == "degraded"
        assert "they resume automatically once the bucket is reachable" in finding.detail
        assert document()["goes_on_by_itself"]
        looked = darkroom("reconcile", "--confirm")
        assert looked.exit_code == 1
        assert "bucket: unknown, it answers 503" in looked.stdout
        assert "what to do: find out why the bucket does not answer; submissions resume automatically" in looked.stdout
        assert "submissions stay paused: the bucket is unreachable" in looked.stderr
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    pipeline.answer_bells()
    found = document()
    assert "the ledger is older than its marker in the bucket" in found["reason"]
    assert (found["stopped"], found["goes_on_by_itself"]) == (True, False)
    assert pipeline.charges() == 2


def test_what_the_ledger_forgot_is_found_in_the_list_and_taken_over_instead_of_made_again(restored: Pipeline) -> None:
    found = document()
    waits = restored.all()[1]
    assert found["stopped"]
    assert found["queued"] == 1
    acedata, kie = (one for one in found["providers"] if one["provider"] in {"acedata", "kie"})
    assert (acedata["tasks"], acedata["known"]) == (2, 1)
    (unknown,) = acedata["unknown"]
    assert unknown["sent_by_darkroom"]
    assert unknown["perhaps"] == [waits.id]
    assert not kie["has_list"]

    told = darkroom("reconcile").stdout
    assert f"unknown: 1 submitted by a Darkroom, not in this ledger: {unknown['task_id']}" in told
    assert f"task {unknown['task_id']} is probably {waits.id}, still queued" in told
    assert "kie: unknown, it has no task list" in told

    darkroom("cancel", waits.id)
    darkroom("rescue", "--provider", "acedata", "--since", "24h")
    opened = document("--confirm")
    restored.submit("a green toad")
    restored.until_settled()
    assert opened["opened"]
    assert opened["providers"][0]["unknown"] == []
    assert {one.prompt: one.state for one in restored.all() if one.id != waits.id} == dict.fromkeys(
        ("a red fox", "a blue owl", "a green toad"), State.ARCHIVED
    )
    assert restored.charges() == 3


def test_what_was_made_meanwhile_is_taken_in_and_what_waits_is_submitted(restored: Pipeline) -> None:
    made = restored.all()[1].id
    # It waits with the same words, and was wished for only after the restore.
    (wish,) = restored.submit("a blue owl")
    result = darkroom("reconcile", "--confirm")
    assert result.exit_code == 0
    assert f" → {made}\n1 queued\nsubmissions resumed: confirmed by " in result.stdout
    restored.bells.append("dispatch")
    restored.until_settled()
    assert restored.charges() == 3
    assert {restored.get(one).state for one in (made, wish)} == {State.ARCHIVED}
    assert restored.path(made).count(State.ARCHIVED) == 1
    # And stays so: the marker in the bucket is this ledger's own now.
    restored.clock.advance(seconds=31)
    restored.step("reconcile")
    again = darkroom("reconcile", "--confirm")
    assert again.exit_code == 0
    assert "submissions are not paused" in again.stdout
    assert "nothing to confirm" in again.stderr


def test_what_is_taken_in_was_paid_for_and_counts(
    restored: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("prices: [{provider: acedata, operation: imagine, price: 0.5}]\ncaps: {day: 0.25}\n")
    monkeypatch.setenv("DARKROOM_PRICES", str(file))
    made = restored.all()[1].id
    assert document("--confirm")["opened"]
    restored.until(lambda: restored.get(made).state is State.ARCHIVED)
    spent = json.loads(darkroom("spend", "--json").stdout)
    (day,), (cap,) = spent["rows"], spent["caps"]
    assert (day["known"], cap["used"], cap["left"]) == ("0.50", "0.50", "0.00")


def test_what_cannot_be_compared_keeps_it_closed(restored: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    assert document()["stopped"]
    with monkeypatch.context() as patch:
        patch.setenv("ACEDATACLOUD_API_TOKEN", "invalid")
        result = darkroom("reconcile", "--confirm")
    assert result.exit_code == 1
    assert "acedata: unknown, " in result.stdout
    assert "submissions stay paused: acedata could not be compared" in result.stderr
    monkeypatch.setenv("S3_BUCKET", "another")
    result = darkroom("reconcile", "--confirm")
    assert result.exit_code == 1
    assert "bucket: unknown, " in result.stdout
    assert "submissions stay paused: the bucket is unreachable" in result.stderr
    assert document()["stopped"]


def test_a_submission_that_the_backup_knows_as_under_way_is_found_by_its_mark(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    (generation_id,) = pipeline.submit("a red fox sandbox:drop")
    pipeline.step("dispatch")
    copies = []
    # The backup is made between the claim and the reply.
    record = pipeline.ledger.submissions.record

    def and_copy(*arguments: Any, **options: Any) -> None:
        copies.append(backup(tmp_path))
        record(*arguments, **options)

    pipeline.ledger.submissions.record = and_copy  # type: ignore[method-assign]
    pipeline.step("submit")
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    restore(pipeline, copies[0], tmp_path)

    (found,) = document()["providers"][0]["found"]
    assert (found["generation"], found["state"]) == (generation_id, "submitting")
    assert document("--confirm")["opened"]
    pipeline.clock.advance(hours=1)
    pipeline.until(lambda: pipeline.clock.advance(seconds=5) or pipeline.get(generation_id).state is State.ARCHIVED)
    assert pipeline.charges() == 1


def test_an_empty_ledger_beside_a_bucket_in_use_submits_nothing(start: Start, tmp_path: Path) -> None:
    pipeline = start()
    copy = backup(tmp_path)
    pipeline.submit("a red fox")
    pipeline.until_settled()
    restore(pipeline, copy, tmp_path)
    pipeline.submit("a red fox")
    pipeline.answer_bells()
    assert pipeline.charges() == 1
    assert "the bucket belongs to another ledger" in darkroom("reconcile").stdout
    darkroom("reconcile", "--confirm")
    pipeline.clock.advance(seconds=31)
    pipeline.step("reconcile")
    assert not is_closed(pipeline)
