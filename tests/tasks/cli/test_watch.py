"""`darkroom watch` and `--watch`: every change once, and an end when there is nothing left to wait for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tasks.cli.ui import progress
from tasks.usecases.scope import BatchScope, FamilyScope
from tests.asking import a_recipe, asked
from tests.factories import LEASE, PLENTY, POLL_AFTER, PROVIDER, accepted, all_stored, failure, success
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import Rejected
from worker.generation import GenerationRequest, Operation, State
from worker.ledger import Ledger
from worker.ledger.approvals import ApprovalState
from worker.ledger.dispatch import Limits
from worker.ledger.generations import NewGeneration, short_id
from worker.ledger.outcome import News
from worker.ledger.submission import Claim, Submitted


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def at_each_look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let something happen before each further look at what is watched, instead of waiting."""

    def arrange(*steps: Callable[[], object]) -> None:
        remaining = iter(steps)

        def instead_of_waiting(*_: object) -> None:
            step = next(remaining, None)
            assert step is not None, "it should have ended by now"
            step()

        monkeypatch.setattr(progress, "_wait", instead_of_waiting)

    return arrange


def follow_up(ledger: Ledger, parent_id: str) -> None:
    (parent,) = ledger.generations.get([parent_id])
    request = GenerationRequest(
        operation=Operation.UPSCALE, prompt=parent.prompt, action="upscale1", parent=parent.handle
    )
    child = NewGeneration(provider="acedata", request=request, parent_id=parent_id, depth=1, batch_id=parent.batch_id)
    assert ledger.generations.create_follow_ups(parent, [child], []) == 1


def test_a_batch_that_is_done_ends_at_once(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.archived(ledger, batch="animals")
    result = darkroom("watch", "animals", "--json")
    assert result.exit_code == 0
    (line,) = lines(result.stdout)
    assert (line["id"], line["state"], line["from"]) == (generation_id, "archived", "succeeded")


def test_the_exit_code_tells_that_one_was_not_archived(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.failed(ledger, batch="animals")
    result = darkroom("watch", "animals")
    assert result.exit_code == 1
    assert "failed       a fox" in result.stderr
    assert result.stdout == ""


def test_every_change_is_one_line_however_quick_it_was(
    darkroom: Darkroom, ledger: Ledger, at_each_look: Callable[..., None]
) -> None:
    (generation,) = stories.queued(ledger, batch="animals")

    def fail() -> None:
        ledger.dispatch.run("acedata", Limits(1000, 1000))
        (claim,) = ledger.submissions.claim(1, stories.MINUTE)
        ledger.submissions.record([Submitted(claim.attempt_id, Rejected("no", code="forbidden"))], stories.MINUTE)

    at_each_look(fail)
    result = darkroom("watch", generation.id, "--json")
    told = [(line["from"], line["state"], line["cause"]) for line in lines(result.stdout)]
    assert told == [
        (None, "queued", "created"),
        ("queued", "submitting", "attempt 1"),
        ("submitting", "failed", "rejected"),
    ]


def test_a_batch_is_not_done_before_its_follow_ups_are(
    darkroom: Darkroom, ledger: Ledger, at_each_look: Callable[..., None]
) -> None:
    parent = stories.archived(ledger, batch="animals", follow_up=("upscale1",))

    def cancel_child() -> None:
        (child,) = ledger.generations.page(state=State.QUEUED)
        ledger.generations.cancel([child.id])

    at_each_look(lambda: follow_up(ledger, parent), cancel_child)
    result = darkroom("watch", "animals", "--json")
    assert [line["state"] for line in lines(result.stdout)] == ["archived", "queued", "cancelled"]
    assert result.exit_code == 1


def test_a_single_generation_is_followed_into_its_follow_ups(
    darkroom: Darkroom, ledger: Ledger, at_each_look: Callable[..., None]
) -> None:
    parent = stories.archived(ledger, follow_up=("upscale1",))

    def cancel_child() -> None:
        (child,) = ledger.generations.page(state=State.QUEUED)
        ledger.generations.cancel([child.id])

    at_each_look(lambda: follow_up(ledger, parent), cancel_child)
    result = darkroom("watch", parent, "--json")
    assert [(line["state"], line["parent"]) for line in lines(result.stdout)] == [
        ("archived", None),
        ("queued", parent),
        ("cancelled", parent),
    ]


def test_a_follow_up_that_was_refused_is_not_waited_for(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.archived(ledger, follow_up=("upscale4",))
    (parent,) = ledger.generations.get([generation_id])
    ledger.generations.create_follow_ups(parent, [], ["upscale4 is not offered"])
    assert darkroom("watch", generation_id).exit_code == 0


def test_without_a_name_the_newest_batch_is_watched(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.failed(ledger)
    stories.archived(ledger, batch="animals")
    assert darkroom("watch").exit_code == 0


def test_submit_can_watch(darkroom: Darkroom, ledger: Ledger, at_each_look: Callable[..., None]) -> None:
    at_each_look(lambda: ledger.generations.cancel([one.id for one in ledger.generations.page()]))
    result = darkroom("submit", "a fox", "an owl", "--watch", "--json")
    assert result.exit_code == 1
    assert [line["state"] for line in lines(result.stdout)] == [*["queued"] * 4, *["cancelled"] * 2]


def test_ctrl_c_ends_the_watching(darkroom: Darkroom, ledger: Ledger, at_each_look: Callable[..., None]) -> None:
    def ctrl_c() -> None:
        raise KeyboardInterrupt

    stories.queued(ledger, batch="animals")
    at_each_look(ctrl_c)
    assert darkroom("watch", "animals").exit_code == 130


def test_somebody_who_watches_a_machine_at_rest_is_told_so(
    darkroom: Darkroom, ledger: Ledger, at_each_look: Callable[..., None]
) -> None:
    (generation,) = stories.queued(ledger)
    at_each_look(lambda: ledger.generations.cancel([generation.id]))
    assert "no worker is running" in darkroom("watch").stderr
    (generation,) = stories.queued(ledger)
    ledger.maintenance.beat("worker@here", 1)
    at_each_look(lambda: ledger.generations.cancel([generation.id]))
    assert "no worker is running" not in darkroom("watch").stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("watch", "unknown"), "there is no batch or generation 'unknown'"),
        (("watch", "gen_unknown"), "there is no batch or generation 'gen_unknown'"),
        (("watch",), "the ledger has no generations yet; start with `darkroom submit`"),
    ],
)
def test_what_does_not_exist_cannot_be_watched(darkroom: Darkroom, arguments: tuple[str, ...], sentence: str) -> None:
    result = darkroom(*arguments)
    assert result.exit_code == 1
    assert sentence in result.stderr


def drawn(scope: BatchScope | FamilyScope, *, height: int) -> list[str]:
    screen = Console(width=80, height=height, highlight=False, markup=False, emoji=False)
    with screen.capture() as capture:
        screen.print(progress.picture_of(scope, height).drawn())
    return capture.get().splitlines()


def test_the_live_picture_shows_follow_ups_below_their_parents(ledger: Ledger) -> None:
    parent = stories.archived(ledger, batch="animals", follow_up=("upscale1",))
    stories.queued(ledger, "an owl")
    follow_up(ledger, parent)
    rows = drawn(BatchScope(ledger, "animals"), height=24)
    assert "1/2  1 queued" in rows[0]
    assert rows[2].split() == ["●", "archived", "a", "fox"]
    assert rows[3].split() == ["○", "queued", "upscale1"]


def test_the_live_picture_fits_its_terminal_and_shows_what_moves(ledger: Ledger) -> None:
    submitted = stories.submitted(ledger, batch="animals")
    (generation,) = ledger.generations.get([submitted])
    for number in range(50):
        request = GenerationRequest(operation=Operation.IMAGINE, prompt=f"fox {number}")
        ledger.generations.create([NewGeneration(provider="acedata", request=request, batch_id=generation.batch_id)])
    rows = drawn(BatchScope(ledger, "animals"), height=12)
    assert len(rows) <= 12
    assert any("submitted" in row and "a fox" in row for row in rows)
    assert rows[-1].strip() == "… and 44 more"


def test_many_generations_are_read_page_by_page(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.usecases.selection.PAGE", 2)
    made = stories.queued(ledger, *(f"fox {number}" for number in range(5)), batch="animals")
    assert {one.id for one in BatchScope(ledger, "animals").all()} == {one.id for one in made}


def test_failures_come_first_with_key_and_reason(ledger: Ledger) -> None:
    stories.archived(ledger, batch="shop", key="B-1")
    batch_id = ledger.generations.newest_batch("shop")
    stories.failed(ledger, batch_id=batch_id, key="B-2")
    stories.queued(ledger, batch_id=batch_id, key="B-3")
    rows = drawn(BatchScope(ledger, "shop"), height=24)
    assert "1/3  1 failed  1 queued" in rows[0]
    assert [row.split()[1:3] for row in rows[2:]] == [["failed", "B-2"], ["archived", "B-1"], ["queued", "B-3"]]
    assert "B-2  forbidden: the picture" in rows[2]


def test_failures_are_shown_however_many_others_move(ledger: Ledger) -> None:
    stories.failed(ledger, batch="shop", key="B-2")
    batch_id = ledger.generations.newest_batch("shop")
    for number in range(10):
        stories.succeeded(ledger, f"task-{number}", batch_id=batch_id)
    assert drawn(BatchScope(ledger, "shop"), height=8)[2].split()[1:3] == ["failed", "B-2"]


def test_a_follow_up_without_its_parent_says_whose_it_is(ledger: Ledger) -> None:
    parent = stories.archived(ledger, batch="shop", key="B-1", follow_up=("upscale1",))
    follow_up(ledger, parent)
    (child,) = ledger.generations.page(state=State.QUEUED)
    assert drawn(FamilyScope(ledger, [child.id]), height=24)[2].split()[2:4] == ["B-1", "upscale1"]


def test_the_last_line_sums_up(darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", "pictures")
    prices = darkroom.data / "prices.yaml"
    prices.write_text("currency: EUR\nprices:\n  - {price: 0.05}\n")
    monkeypatch.setenv("DARKROOM_PRICES", str(prices))
    stories.archived(ledger, batch="shop")
    batch_id = str(ledger.generations.newest_batch("shop"))
    stories.failed(ledger, batch_id=batch_id)
    last = darkroom("watch", "shop").stderr.splitlines()[-1]
    manifest = f"s3://pictures/manifests/shop/{batch_id}/manifest.jsonl"
    assert last == f"1 archived, 1 failed, reasons: 1 moderation, 0.00 EUR, 0 s, manifest {manifest}"
    single = stories.archived(ledger, "task-2")
    assert darkroom("watch", single).stderr.splitlines()[-1] == "1 archived, 0 failed, 0.00 EUR, 0 s"


def test_a_failure_is_told_with_its_reason_where_no_view_can_be_drawn(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.failed(ledger, batch="shop", key="B-2")
    (line,) = [line for line in darkroom("watch", "shop").stderr.splitlines() if "B-2" in line]
    assert line.startswith(f"{short_id(generation_id)}  failed       B-2 · a fox  forbidden: the picture")
    assert stories.SIGNATURE not in line


def test_who_watches_one_of_two_batches_is_told_which(darkroom: Darkroom, ledger: Ledger) -> None:
    first, second = (ledger.generations.get([stories.failed(ledger, batch="shop")])[0].batch_id for _ in range(2))
    told = f"2 batches are named shop; this is the newest, {second}"
    assert told in darkroom("watch", "shop").stderr
    assert "batches are named" not in darkroom("watch", str(first)).stderr


def test_the_time_that_is_left_is_told_from_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    rate = progress._Rate()
    told = []
    for now, done in ((0, 10), (2, 14), (10, 30), (60, 130), (400, 130), (410, 330)):  # noqa: B007  the clock reads it
        told.append(rate.left({State.ARCHIVED: done, State.QUEUED: 330 - done}))
    assert told == [None, None, "30 of 330, about 2 min 30 s left", "130 of 330, about 1 min 30 s left", None, None]


@pytest.mark.parametrize(
    "names", [("shop",), ("sku-7",), ("--label", "client=acme")], ids=["a batch", "one", "a label"]
)
def test_what_waits_for_a_person_ends_with_a_sentence_and_an_exit_code_of_its_own(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, names: tuple[str, ...]
) -> None:
    (approval,) = asked(ledger, a_recipe(tmp_path), batch="shop", key="sku-7", labels={"client": "acme"})
    commands = [("watch", *names)] + ([("batch", "watch", "shop")] if names == ("shop",) else [])
    for command in commands:
        result = darkroom(*command)
        assert (result.exit_code, result.stderr.splitlines()[-1]) == (
            3,
            "waiting for 1 decision from you: `darkroom approvals`",
        )
        assert "manifest" not in result.stderr, "it is not written before that"
    assert darkroom("reject", approval.id).exit_code == 0
    assert [darkroom(*command).exit_code for command in commands] == [0] * len(commands)


def test_what_a_task_picks_is_waited_for(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, at_each_look: Callable[..., None]
) -> None:
    (approval,) = asked(ledger, a_recipe(tmp_path, pick="task shop.pick@shop"), batch="shop")
    ledger.approvals.note_sent(approval.id)
    at_each_look(lambda: darkroom("reject", approval.id))
    assert darkroom("watch", "shop").exit_code == 0
    assert ledger.approvals.get(approval.id).state is ApprovalState.REJECTED, "it did not end before"


def test_a_row_that_failed_and_has_a_new_version_is_no_failure_of_its_batch(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path
) -> None:
    def submit(prompt: str, *more: str) -> None:
        (tmp_path / "shop.csv").write_text(f"key,prompt\nsku-1,{prompt}\n")
        assert darkroom("batch", "submit", "shop.csv", "--name", "shop", *more).exit_code == 0

    submit("a hat")
    end(ledger, failure)
    assert darkroom("batch", "watch", "shop").exit_code == 1
    submit("a red hat", "--new-version")
    end(ledger, success)
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(9, LEASE)])
    watched = darkroom("batch", "watch", "shop")
    assert "1 archived, 1 failed" in watched.stderr
    assert watched.exit_code == 0


def end(ledger: Ledger, outcome: Callable[[Claim], News]) -> None:
    ledger.dispatch.run(PROVIDER, PLENTY)
    claims = ledger.submissions.claim(9, LEASE)
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim)) for claim in claims], POLL_AFTER)
    ledger.generations.apply_outcomes([outcome(claim) for claim in claims])
