"""The whole machine as its user meets it: the command line, and every process of it real."""

import hashlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from tests import s3
from tests.computer import Computer, PeakMemory, eventually, family_of
from tests.golden.golden import compare_shape
from tests.patience import patient
from webhook import sandbox
from worker.embedded.servers import broker, free_port
from worker.providers import PROVIDERS

pytestmark = [pytest.mark.system, pytest.mark.processes]

RECORD = {
    "id", "state", "provider", "operation", "action", "prompt", "options", "key", "task_id", "parent", "depth", "batch",
    "batch_id", "root_key", "follow_up", "priority", "progress", "reason", "message", "actions", "created_at",
    "updated_at", "submitted_at", "finished_at", "providers", "provider_changes", "test", "recipe", "step",
}  # fmt: skip
ASSET = {"index", "kind", "state", "object_key", "sha256", "bytes", "content_type", "width", "height", "content"} | {
    "reason",
    "error",
}
TRANSITION = {"from", "to", "at", "cause"}


@pytest.fixture
def computer(tmp_path: Path) -> Iterator[Computer]:
    home = tmp_path / "home"
    home.mkdir()
    computer = Computer(home)
    yield computer
    # A moment for what a test that has failed left to the guardian.
    _, orphans = psutil.wait_procs(computer.processes(), timeout=patient(2))
    for orphan in orphans:
        orphan.kill()
    assert orphans == []


@pytest.fixture
def provider() -> Iterator[sandbox.Sandbox]:
    with sandbox.running(delay=0.5, size=64) as provider:
        yield provider


@pytest.fixture
def servers(rclone: s3.Server, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A broker and a bucket that others look after, as the variables that name them."""
    server = broker(tmp_path / "broker", "secret", {"PATH": os.environ["PATH"]})
    child = server.child
    with subprocess.Popen(child.argv, cwd=child.cwd, env=child.env, stdout=subprocess.DEVNULL) as process:
        try:
            eventually(lambda: child.ready is None or child.ready(), seconds=10)
            yield {**server.found_by, **s3.bucket_of(rclone), "S3_PREFIX": tmp_path.name}
        finally:
            process.kill()


def test_the_demo_goes_from_prompt_to_pictures_and_leaves_nothing_running(computer: Computer) -> None:
    with PeakMemory(computer) as peak:
        done = computer.darkroom("demo", "--exit", "--json", seconds=60)

    assert done.returncode == 0, done.stderr
    (result,) = map(json.loads, done.stdout.splitlines())
    compare_shape("demo", "darkroom demo --exit --json", result)
    # The split costs nothing.
    assert result["submitted"] == result["archived"] == result["charges"] + 1 > 12
    assert (result["split"], result["approved"], result["events"]) == (1, 1, 1)
    assert result["failed"] == 0
    assert set(result["providers"]) == set(PROVIDERS)
    for count in ("submitted", "archived", "charges"):
        assert sum(one[count] for one in result["providers"].values()) == result[count]
        assert all(one[count] > 3 for one in result["providers"].values())
    # One provider's account ran out of credit on the way.
    assert {(one["left"], one["to"]) for one in result["moved"]} == {("kie", "acedata")}
    kinds = {Path(asset["object_key"]).suffix for asset in result["assets"]}
    assert {".png", ".jpg", ".mp4", ".json"} <= kinds
    assert len({asset["generation"] for asset in result["assets"]}) == result["archived"]
    (folder,) = computer.data.iterdir()
    for asset in result["assets"]:
        assert set(asset) == {"generation", "object_key", "sha256", "bytes"}
        content = (folder / "s3" / "darkroom" / asset["object_key"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (asset["sha256"], asset["bytes"])
    assert computer.processes() == []
    assert 100 < peak.megabytes < 850


@pytest.mark.parametrize("called_back", [True, False], ids=["callbacks", "polling"])
def test_a_machine_that_is_given_everything_starts_no_server_and_works(
    computer: Computer, provider: sandbox.Sandbox, servers: dict[str, str], postgresql_url: str, called_back: bool
) -> None:
    computer.env |= {**servers, "ACEDATACLOUD_BASE_URL": provider.url, "DATABASE_URL": postgresql_url}
    computer.env |= {"PUBLIC_URL": computer.url} if called_back else {"DARKROOM_POLL_SECONDS": "1"}
    with computer.up() as said:
        assert said["embedded"] == []
        assert {one.name() for one in family_of(said["pid"])} & {"valkey-server", "redis-server", "rclone"} == set()
        (made,) = computer.json("submit", "a lighthouse", "--follow-up", "upscale1")
        computer.until_all_is_archived()
        child, parent = computer.json("list")
        (story,) = computer.json("show", made["id"])

    assert set(made) == RECORD | {"warnings"}
    assert set(parent) == RECORD | {"assets", "transitions", "waits_for", "failure", "labels"}
    assert (child["parent"], child["action"]) == (parent["id"], "upscale1")
    assert set(story) == RECORD | {"waits_for", "failure", "labels", "cost", "total_cost"} | {
        "assets",
        "transitions",
        "charges",
        "children",
        "approvals",
        "attempts",
        "callbacks",
        "events",
    } | {
        "undelivered",
        "asked_again_at",
        "pruned_before",
    }
    assert set(story["assets"][0]) == ASSET
    assert [move["to"] for move in story["transitions"]] == [
        "queued",
        "submitting",
        "submitted",
        "succeeded",
        "archived",
    ]
    assert set(story["transitions"][0]) == TRANSITION
    assert story["children"] == [{"id": child["id"], "action": "upscale1", "state": child["state"]}]
    assert len(story["callbacks"]) == len(provider.log("callback")) / 2 == (1 if called_back else 0)
    assert provider.bill()["charges"] == 2


def test_after_a_restart_everything_goes_on_where_it_was(computer: Computer) -> None:
    with sandbox.running(delay=patient(3), size=64) as provider:
        computer.env |= {
            "ACEDATACLOUD_BASE_URL": provider.url,
            "ACEDATACLOUD_IN_FLIGHT": "3",
            "PUBLIC_URL": computer.url,
            # Callbacks that come while nobody listens are lost.
            "DARKROOM_POLL_SECONDS": "1",
        }
        with computer.up(stop=signal.SIGINT):
            computer.json("submit", *(f"tower {number}" for number in range(5)))
            eventually(lambda: len(provider.log("submit")) == 3, seconds=20)
            assert "archived" not in computer.states()
        assert sorted(set(computer.states())) == ["queued", "submitted"]
        with computer.up():
            computer.until_all_is_archived()
        assert provider.bill()["charges"] == 5
    pictures = list((computer.data / "s3" / "darkroom").rglob("0.png"))
    assert len(pictures) == 5


def test_what_is_in_use_already_is_refused_and_goes_on(computer: Computer) -> None:
    with computer.up() as said:
        assert said["api"] == said["console"] == computer.api
        with urlopen(f"{computer.api}/readyz") as answer:
            assert json.load(answer)["status"] == "ok"
        compare_shape("up", "darkroom up --json", {name: said[name] for name in said if name != "pid"})
        for other, sentence in (
            (
                {"PORT": str(free_port()), "API_PORT": str(free_port())},
                f"my data is in use by process {said['pid']}: stop that process first",
            ),
            ({"DARKROOM_DATA": str(computer.home / "other")}, f"the receiver cannot listen on PORT {computer.port}"),
        ):
            refuses(computer.darkroom("up", **other), sentence)
        assert computer.json("list") == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"DARKROOM_DATA": "/proc/x"}, "/proc/x: No such file or directory; set DARKROOM_DATA to a writable folder"),
        ({"ACEDATACLOUD_API_TOKEN": ""}, "no provider is set up: set ACEDATACLOUD_API_TOKEN, "),
        ({"PUBLIC_URL": "foo"}, "PUBLIC_URL: 'foo' is not an http:// or https:// address"),
        ({"DATABASE_URL": "foo"}, "DATABASE_URL is not a database URL; write it like postgresql://"),
        ({"REDIS_URL": "foo"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://127.0.0.1:port/0"}, "REDIS_URL"),
    ],
    ids=lambda value: "-".join(f"{name}={text}" for name, text in value.items()) if isinstance(value, dict) else "",
)
def test_up_says_in_one_sentence_which_setting_is_wrong(
    computer: Computer, wrong: Mapping[str, str], sentence: str
) -> None:
    refuses(computer.darkroom("up", **wrong), sentence)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"S3_BUCKET": "nobody-has-it"}, 'Bucket "nobody-has-it"'),
        ({"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "correct AWS_SECRET_ACCESS_KEY"),
    ],
    ids=["bucket", "secret"],
)
def test_up_says_in_one_sentence_why_the_bucket_cannot_be_used(
    computer: Computer, rclone: s3.Server, wrong: Mapping[str, str], sentence: str
) -> None:
    done = computer.darkroom("up", **(s3.bucket_of(rclone) | wrong))
    refuses(done, sentence)
    assert "wrong-secret" not in done.stderr


def test_submit_says_in_one_sentence_what_it_does_not_take(computer: Computer) -> None:
    computer.env["DATABASE_URL"] = f"sqlite:///{computer.home / 'ledger.sqlite3'}"
    assert computer.darkroom("db", "upgrade").returncode == 0
    for arguments, sentence in (
        (("a cat", "--provider", "nobody"), "unknown provider 'nobody'; expected one of acedata"),
        ((" ",), "the prompt is empty"),
        (("x" * 6001,), "the prompt has 6001 characters, but Ace Data Cloud accepts at most 6000"),
    ):
        refuses(computer.darkroom("submit", *arguments), sentence)
    assert computer.json("list") == []


def refuses(done: "subprocess.CompletedProcess[str]", sentence: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("darkroom: ")
    assert sentence in last
    assert "Traceback" not in done.stderr
