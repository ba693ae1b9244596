"""What commands print with --json, what lies in the bucket and what subscribers get is as the golden files have it."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import click
import pytest
from requests import PreparedRequest

from tasks import restore_marker
from tasks.cli import cli
from tasks.dispatch import dispatch
from tasks.follow_up import follow_up
from tasks.ingest import ingest
from tasks.manifest import manifest
from tasks.notify import notify
from tests import s3
from tests.clock import FakeClock
from tests.commands import darkroom
from tests.factories import LEASE, stored
from tests.golden.golden import FOLDER
from tests.golden.story import PNG, Story, beginning, record
from tests.tasks.cli.stories import LINK
from worker.errors import AccountBlocked, NotTaken, Rejected, Uncertain
from worker.generation import Accepted, Status
from worker.ledger.access import NewAction
from worker.ledger.assets import Archived, Lost
from worker.ledger.dispatch.pacing import FAILURES
from worker.ledger.generations import LONGEST_WAIT

ANIMALS = [
    {"prompt": "a red fox", "key": "fox", "follow_up": ["upscale1"], "options": {"aspect_ratio": "3:2"}},
    {"prompt": "a blue owl --v 7", "key": "owl", "priority": 5},
    {"prompt": "a green frog", "key": "frog"},
    {"prompt": "a white hare", "key": "hare"},
]

SHOP = Path(__file__).parents[2] / "deploy" / "examples" / "recipes" / "shop.yaml"


@pytest.fixture
def story(sqlite_url: str, rclone: s3.Server, tmp_path: Path, clock: FakeClock) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as patch, beginning(patch, sqlite_url, rclone, tmp_path, clock) as begun:
        yield begun
    time.tzset()


def test_every_command_with_json_has_a_golden_document() -> None:
    """Those of a whole machine are compared where one is started (`tests/system/test_whole_machine.py`)."""
    documents = [json.loads(file.read_text()) for file in FOLDER.glob("*/*.json")]
    told = [f"{document['command']} " for document in documents if "command" in document]
    names = {" ".join(path) for path, command in _commands(cli) if any("--json" in one.opts for one in command.params)}
    without = {name for name in names if not any(_is_call_of(name, names, call) for call in told)}
    assert not without, f"let the story below call them: {', '.join(sorted(without))}"


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


def _is_call_of(name: str, names: set[str], call: str) -> bool:
    """`dead replay` is no call of `dead`."""
    longer = [other for other in names if other.startswith(f"{name} ")]
    return call.startswith(f"darkroom {name} ") and not any(call.startswith(f"darkroom {one} ") for one in longer)


def test_every_document_of_the_story_is_as_it_was(
    story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    the_providers_answer(story)
    story.run("db-upgrade", "db", "upgrade")
    story.run("db-rehearse", "db", "rehearse")
    a_batch_goes_its_ways(story, tmp_path)
    a_batch_is_given_back(story, tmp_path)
    singles_go_astray(story)
    others_wait(story)
    callbacks_come(story)
    subscribers_are_told(story)
    events_are_read(story, monkeypatch)
    questions_about_all(story, monkeypatch)
    persons_decide(story)
    a_ledger_seems_old(story)
    much_goes(story)
    a_sheet_is_submitted(story, tmp_path)
    what_lies_outside(story)
    a_batch_changes_its_provider(story)
    a_program_gets_in(story)
    people_are_let_in(story)
    a_recipe_asks(story, tmp_path, monkeypatch)
    others_are_notified(story)
    story.golden.compare()


def the_providers_answer(story: Story) -> None:
    def listed(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        asked, at = json.loads(request.body or ""), story.clock().timestamp() - 600
        if asked["action"] == "retrieve":
            return 200, {}, json.dumps(record("ark", at, prompt="a lost ark") if asked["id"] == "ark" else {})
        of_a_darkroom = story.here.callback_url("acedata", "cd" * 16)
        of_the_raft = story.here.callback_url("acedata", story.claims["a lost raft"].attempt_id)
        tasks = [
            record("elsewhere", at, prompt="a boat of others"),
            record("forgotten", at, prompt="a forgotten boat", callback_url=of_a_darkroom),
            record("raft", at, prompt="a lost raft", callback_url=of_the_raft),
            record("task of a slow snail", at, prompt="a slow snail"),
        ]
        is_studio = "key-of-the-studio" in str(request.headers["Authorization"])
        return 200, {}, json.dumps({"items": tasks if is_studio and not asked.get("offset") else []})

    story.provider.add_callback("POST", "https://api.acedata.cloud/midjourney/tasks", listed)
    story.provider.get("https://api.kie.ai/api/v1/chat/credit", json={"code": 200, "msg": "success", "data": 42})


def a_batch_goes_its_ways(story: Story, tmp_path: Path) -> None:
    file = tmp_path / "animals.jsonl"
    file.write_text("".join(f"{json.dumps(one)}\n" for one in ANIMALS))
    story.run("submit-file", "submit", "--file", str(file))
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(
        'sku,prompt,aspect_ratio,seed,colour\n1,a {colour} fox,3:2,5,red\n1,a fox,,,\n2,"{a, b} {c}",,,\n'
        '3,"a {fast, slow} owl --foo",16:09,,\n4,"{red, blue} hares",,,\n'
    )
    story.run("batch-check", "batch", "check", str(sheet), "--provider", "kie,acedata", exit_code=1)
    story.go()
    story.clock.advance(2)
    fox = story.succeed("a red fox", "fox-1.png", "fox-2.png")
    story.archive()
    follow_up()
    story.answer("a blue owl --v 7", Rejected("this prompt is not allowed", code="forbidden", status=403))
    story.answer("a green frog", NotTaken("the queue is full", code="queue_full", retry_after=timedelta(hours=1)))
    story.go()
    story.succeed("a red fox upscale1", "fox-large.png", actions=())
    story.archive()
    story.succeed("a white hare", "hare.png")
    story.archive()
    story.run("show-archived", "show", fox)
    story.run("submit-action", "submit", "--parent", fox, "--action", "reroll", "--key", "fox-again")
    story.run("batch-pause", "batch", "pause", "animals")
    story.run("batch-resume", "batch", "resume", "animals")
    story.run("batch-limit", "batch", "limit", "animals", "--max-in-flight", "5", "--max-cost", "2.50")
    story.run("batch-limit-none", "batch", "limit", "animals", "--no-max-in-flight", "--no-max-cost")
    # No more of it is of use.
    story.run("cancel-batch", "cancel", "--batch", "animals")
    manifest()


def a_batch_is_given_back(story: Story, tmp_path: Path) -> None:
    story.run("batch-results", "batch", "results", "animals")
    (tmp_path / "hare_0.png").write_text("another file")
    story.run("batch-download", "batch", "download", "animals", str(tmp_path), exit_code=1)
    for name in ("results.csv", "errors.csv"):
        option = "--output" if name == "results.csv" else "--errors"
        assert darkroom("batch", "results", "animals", option, str(tmp_path / name)).exit_code == 0
        story.golden.add_text(f"batch-{name}", (tmp_path / name).read_text(encoding="utf-8-sig"))


def singles_go_astray(story: Story) -> None:
    """One generation in each state, and what a person must look at."""
    lost = ["a lost boat", "a lost ship", "a lost raft", "a lost twin", "a lost ark"]
    others = ["an eagle", "a slow snail", "a dead moth", "a hidden crab", "a spoiled egg", "a shy cat", "a late train"]
    story.run("submit-many", "submit", *lost, *others, "--follow-up", "upscale1", "--batch", "singles")
    story.run("submit-text", "submit", "a text", "--operation", "shorten")
    story.run("submit-extra", "submit", "an owl", "--option", "hd=true", "--follow-up", "upscale2")
    story.go()
    story.clock.advance(2)
    for prompt in lost:
        story.answer(prompt, Uncertain("no answer came in time", code="read_timeout"))
    story.answer("a slow snail", Accepted("task of a slow snail"))
    story.hear("a slow snail", Status.IN_PROGRESS, task_id="task of a slow snail", progress=35)
    story.succeed("a text", text={"prompts": ["a fox", "an owl"]})
    story.archive()
    story.succeed("a shy cat", "cat.png", actions=("reroll",))
    story.archive()
    follow_up()
    story.succeed("a dead moth", "moth-1.png", "moth-2.png")
    (claim,) = story.ledger.assets.claim(1, LEASE)
    dead = Lost(1, f"{LINK} answers with status 404")
    story.ledger.assets.record([Archived(claim, (stored(0), dead), described=False)])
    story.succeed("a hidden crab", "hidden.png")
    story.archive()
    story.answer("a late train", Accepted("task of a late train"))
    story.hear("a late train", Status.FAILED, task_id="task of a late train", reason="timeout", message="too long")
    story.hear("a late train", Status.SUCCEEDED, "poll", task_id="task of a late train", text={"seed": "7"})
    story.archive()
    story.succeed("an owl", "owl.png")
    story.archive()
    while parents := story.ledger.generations.due_follow_ups(1):
        story.ledger.generations.record_follow_up_failure(parents[0], "LookupError in follow_up")
        story.clock.advance(LONGEST_WAIT.total_seconds())
    # Last: it is kept aside after several tries.
    story.succeed("a spoiled egg", "spoiled.png")
    for _ in range(6):
        story.clock.advance(minutes=5)
        story.archive()


def others_wait(story: Story) -> None:
    """For a budget, and for an account that its provider has blocked."""
    story.run("submit-held", "submit", "a poster", "another poster", "--batch", "posters")
    story.run("submit-elsewhere", "submit", "a banner", "--provider", "kie", "--priority", "-3")
    flags = [f"flag {number}" for number in range(FAILURES)]
    story.run("submit-flags", "submit", *flags, "--provider", "kie", "--batch", "flags", "--priority", "1")
    story.go()
    for flag in flags:
        story.answer(flag, Uncertain("the gateway gave up", code="bad_gateway", status=502))
    story.answer("a banner", AccountBlocked("the credits are used up", code="no_credit"))


def callbacks_come(story: Story) -> None:
    """Three that cannot be applied."""
    story.call_back(story.claims["a slow snail"].attempt_id, b"not JSON")
    success = {"success": True, "progress": 100, "image_url": "https://cdn.midjourney.com/a.png", "image_id": "1"}
    for attempt_id in (story.claims["a hidden crab"].attempt_id, "ab" * 16):
        story.call_back(attempt_id, json.dumps({**success, "task_id": "another"}).encode())


def subscribers_are_told(story: Story) -> None:
    story.ledger.assets.note_risks(timedelta(days=2))
    story.listening.answer = lambda number: 410 if number == 3 else 204
    notify()
    story.clock.advance(60)
    (subscribed,) = story.here.settings.subscribers
    story.run("subscriber-enable", "subscriber", "enable", subscribed.name)
    notify()
    story.clock.advance(60)


def questions_about_all(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.run("list-without-workers", "list", "--state", "queued")
    story.ledger.maintenance.beat("worker@host", 7, {"KIE_RATE": 1.8})
    story.ledger.maintenance.beat("clock@host", 8, {"KIE_RATE": 5})
    story.run("list", "list")
    story.run("list-of-batch", "list", "--state", "archived", "--batch", "animals", "--limit", "2")
    for prompt, claim in story.claims.items():
        story.run(f"show {prompt}", "show", claim.generation.id)
    story.run("watch", "watch", "animals", exit_code=1)
    story.run("batch-watch", "batch", "watch", "animals", exit_code=1)
    story.run("watch-one", "watch", story.id_of("a white hare"))
    story.run("at-risk", "at-risk", exit_code=1)
    story.run("dead", "dead")
    story.run("dead-of-kind", "dead", "--kind", "callbacks")
    story.run("unconfirmed", "unconfirmed")
    for by in ("day", "provider", "operation", "batch"):
        story.run(f"spend-by-{by}", "spend", "--by", by)
    story.run("spend-by-label-and-provider", "spend", "--by", "label:client,provider")
    story.run("providers", "providers")
    story.run("db-size", "db", "size", without=("bytes", "free"))
    story.run("healthcheck", "healthcheck", "worker", exit_code=1)
    (owl,) = story.ledger.generations.assets_of([story.id_of("an owl")]).popitem()[1]
    for key in (str(owl.object_key), f"{story.here.archive.keys.prefix}/stray.png"):
        story.here.archive.overwrite(key, PNG[::-1], content_type="image/png", metadata={})
    story.run("verify", "verify", exit_code=1)
    story.run("verify-repair", "verify", "--repair", exit_code=1)
    story.run("verify-batch", "verify", "--batch", "animals")
    # No name of a host is looked up.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    story.run("doctor", "doctor", exit_code=1)
    monkeypatch.delenv("HTTPS_PROXY")


def persons_decide(story: Story) -> None:
    story.run("resolve-charged", "resolve", story.id_of("a lost boat"), "--charged", "--why", "it is on the bill")
    story.run("resolve-not-charged", "resolve", story.id_of("a lost ship"), "--not-charged")
    story.run("resolve-task", "resolve", story.id_of("a lost ark"), "--charged", "--task-id", "ark")
    story.run("resolve-resubmit", "resolve", story.id_of("a lost twin"), "--resubmit")
    first = story.claims["a lost twin"]
    story.go()
    story.succeed("a lost twin", "twin.png")
    story.archive()
    story.claims["a lost twin"] = first
    story.hear("a lost twin", Status.SUCCEEDED, task_id="the other twin", text={"seed": "8"})
    story.run("retry", "retry", story.id_of("a lost ship"), story.id_of("a dead moth"))
    story.archive()
    story.run("retry-failed", "retry", "--failed", "--batch", "animals")
    story.run("batch-retry", "batch", "retry", "animals", "--only", "moderation,provider")
    story.run("cancel", "cancel", story.id_of("a lost ship"), story.id_of("a slow snail"), exit_code=1)
    story.run("resume", "resume", "kie")
    story.run("resume-none", "resume", "acedata", "--account", "shop")
    story.run("accept-look", "accept", story.id_of("a spoiled egg"))
    story.run("accept", "accept", story.id_of("a spoiled egg"), "--yes", "--why", "it is only grainy")
    story.clock.advance(60)
    story.archive()
    story.run("accept-nothing", "accept", story.id_of("a spoiled egg"), "--yes", exit_code=1)
    letters = story.run("dead-then", "dead")
    for kind in ("callbacks", "events", "follow-ups"):
        story.run(f"dead-replay-{kind}", "dead", "replay", next(one["id"] for one in letters if one["kind"] == kind))
    ingest()
    notify()
    story.run("dead-dismiss", "dead", "dismiss", "--all", "--why", "nobody can mend it")


def events_are_read(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    listed = story.run("events-list", "events", "list", "--type", "generation.*,batch.completed", "--limit", "5")
    with monkeypatch.context() as patch:
        # Ctrl-C, once there is nothing new.
        patch.setattr("tasks.usecases.events.log.time.sleep", interrupt)
        story.run("events-listen", "events", "listen", "--after", listed[1]["id"])
    story.run("events-resend", "events", "resend", listed[1]["id"])
    story.run("events-trigger", "events", "trigger", "generation.failed")
    notify()


def a_ledger_seems_old(story: Story) -> None:
    """The bucket knows of a newer one; the provider lists what this one has forgotten."""
    story.clock.advance(60)
    dispatch()
    marker = restore_marker.read(story.here.archive)
    assert marker is not None
    restore_marker.write(story.here.archive, replace(marker, number=marker.number + 5))
    story.clock.advance(60)
    dispatch()
    story.call_back("ef" * 16, b"{}")
    story.run("list-while-stopped", "list", "--state", "queued")
    story.run("reconcile", "reconcile", exit_code=1)
    story.run("reconcile-confirm", "reconcile", "--confirm")
    story.run("rescue-dry-run", "rescue", "--provider", "acedata", "--since", "24h", "--dry-run")
    story.run("rescue", "rescue", "--provider", "acedata", "--since", "24h")


def much_goes(story: Story) -> None:
    hare = story.id_of("a white hare")
    story.run("delete-look", "delete", hare, "--objects")
    story.run("delete", "delete", hare, story.id_of("an eagle"), "--objects", "--yes", exit_code=1)
    story.run("show-deleted", "show", hare)
    manifest()
    notify()
    with story.ledger.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT type, generation_id, batch_id, payload FROM events ORDER BY id").all()
    story.golden.add_text("events-recorded.jsonl", "".join(f"{json.dumps(list(row))}\n" for row in rows))
    story.clock.advance(days=40)
    story.run("prune", "prune")
    story.run("show-pruned", "show", story.id_of("a red fox"))
    story.run("batch-reprioritize", "batch", "reprioritize", "posters", "2")
    story.run("batch-cancel", "batch", "cancel", "posters")


def a_sheet_is_submitted(story: Story, folder: Path) -> None:
    sheet = folder / "shop.csv"
    sheet.write_text("sku,prompt,colour\n0042,a chair,red\n0043,a table,blue\n")
    story.run("batch-submit", "batch", "submit", "shop.csv", "--max-cost", "5", "--provider", "kie,acedata")
    sheet.write_text("sku,prompt,colour\n0042,a chair,green\n0044,,blue\n0045,a lamp,red\n")
    again = ("batch", "submit", "shop.csv", "--new-version", "--skip-invalid", "--max-cost", "6")
    story.run("batch-submit-again", *again, "--dry-run")
    story.run("batch-submit-again-for-good", *again)
    story.run("batch-show", "batch", "show", "shop")
    story.run("batch-list", "batch", "list", "--limit", "3")


def what_lies_outside(story: Story) -> None:
    """In the bucket, and with the subscriber."""
    for number, text in enumerate(story.objects("generation.json"), start=1):
        story.golden.add_text(f"sidecar-{number}.json", text)
    for number, text in enumerate(story.objects("manifest.jsonl"), start=1):
        story.golden.add_text(f"manifest-{number}.jsonl", text)
    story.golden.add_text(
        "events-delivered.jsonl", "".join(f"{one.body.decode()}\n" for one in story.listening.received)
    )


def a_batch_changes_its_provider(story: Story) -> None:
    rails = ("--provider", "kie,acedata", "--batch", "rails")
    tram, _ = story.run("submit-choices", "submit", "a tram", "a train", *rails)
    story.run("batch-move", "batch", "move", "rails", "--to", "acedata,kie")
    story.run("show-moved", "show", tram["id"])
    # Kie.ai has no seed.
    story.run("submit-seeds", "submit", "a seed", "another seed", "--option", "seed=7", "--batch", "seeds")
    story.run("batch-move-impossible", "batch", "move", "seeds", "--to", "kie", exit_code=1)


def others_are_notified(story: Story) -> None:
    url = "https://shop.example.com/hooks/token-of-the-shop"
    story.run(
        "subscriber-add", "subscriber", "add", url, "--name", "shop", "--types", "batch.*", "--label", "client=acme"
    )
    story.run("subscriber-add-task", "subscriber", "add", "--task", "billing.on_event@its-queue")
    story.run("subscriber-list", "subscriber", "list")
    story.run("subscriber-show", "subscriber", "show", "shop")
    story.run("subscriber-rotate", "subscriber", "rotate", "shop")
    story.run("subscriber-add-closed", "subscriber", "add", "http://127.0.0.1:1/hooks", "--name", "closed")
    story.run("subscriber-test", "subscriber", "test", "closed", exit_code=1)
    story.run("subscriber-remove", "subscriber", "remove", "shop")


def a_program_gets_in(story: Story) -> None:
    scopes = ("--scope", "generations:write", "--scope", "spend:read")
    story.run("token-create", "token", "create", "studio", *scopes, "--expires", "90d", "--rate", "100/second")
    story.run("token-create-test", "token", "create", "trial", "--scope", "all", "--test")
    story.run("token-revoke", "token", "revoke", "trial")
    story.run("token-list", "token", "list", "--all")
    action = NewAction(door="api", actor="studio", action="POST /v1/generations", request_id="req_1")
    done, _ = (story.ledger.access.record_action(action) for _ in range(2))
    story.ledger.access.record_answer(done, 201, story.id_of("a red fox"))
    story.run("audit-log", "audit-log", "--actor", "studio")


def people_are_let_in(story: Story) -> None:
    story.run("user-add", "user", "add", "anna", "--role", "viewer", "--no-password")
    story.run("user-role", "user", "role", "anna", "operator")
    story.run("user-passwd", "user", "passwd", "anna", "--password-stdin", said="four unusual words here\n")
    story.run("user-list", "user", "list")
    story.run("user-remove", "user", "remove", "anna")
    story.run("user-list-all", "user", "list", "--all")


def a_recipe_asks(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setenv("DARKROOM_RECIPES", str(folder))
    (folder / "shop.yaml").write_text(SHOP.read_text(encoding="utf-8"))
    (folder / "torn.yaml").write_text("name: torn\nsteps: [{id: cut, on: archived, do: split}]\n")
    story.run("recipe-check", "recipe", "check", str(folder / "shop.yaml"))
    story.run("recipe-check-torn", "recipe", "check", str(folder / "torn.yaml"), exit_code=1)
    story.run("recipe-list", "recipe", "list")
    story.run("recipe-show", "recipe", "show", "shop")
    story.run("recipe-draw", "recipe", "draw", "shop")
    story.run("submit-recipe", "submit", "a vase", "a jug", "--recipe", "shop")
    story.go()
    grid = ("upscale1", "upscale2", "upscale3", "upscale4")
    made = []
    for prompt in ("a vase", "a jug"):
        made.append(story.succeed(prompt, "grid.png", actions=grid))
        story.archive()
        follow_up()
    vase, jug = made
    story.run("approvals", "approvals")
    story.run("approve", "approve", vase, "2,4", "--why", "the handles")
    story.run("approve-again", "approve", vase, "2,4")
    story.run("approve-too-late", "approve", vase, "1", exit_code=1)
    story.run("reject", "reject", jug)
    story.run("show-recipe", "show", vase)
