"""`darkroom up` and `darkroom demo` before anything starts, and commands that join what is running."""

import json
import os
import re
import socket
from collections.abc import Callable
from contextlib import closing
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from tasks.cli.demo.command import _new_folder
from tasks.cli.demo.ending import write_recipe
from tasks.cli.demo.process_log import ProcessLog
from tasks.cli.demo.requests import request
from tasks.cli.demo.result import Result
from tasks.cli.ui.context import DEMO, read_settings, without_services
from tasks.usecases.one_machine import workers_of_host
from tasks.usecases.submit import check
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.embedded import StopSignals, without_noise
from worker.embedded.servers import free_port
from worker.ledger import Ledger
from worker.ledger.maintenance import STOPPED
from worker.providers import PROVIDERS
from worker.services import Services
from worker.settings import load_settings

#: the module; its command has the same name
up = import_module("tasks.cli.up")


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be started by these tests: all of them are about what is refused before."""

    def started(*_: object, **__: object) -> None:
        pytest.fail("a server was started")

    monkeypatch.setattr("worker.embedded.machine.Supervisor", started)


@pytest.fixture
def environment(darkroom: Darkroom) -> object:
    """Commands change the environment of their process; a test that calls their parts puts it back."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_up_names_the_missing_key_before_it_starts_anything(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACEDATACLOUD_API_TOKEN")
    result = darkroom("up")
    assert result.exit_code == 1
    assert "no provider is set up: set ACEDATACLOUD_API_TOKEN, KIE_API_KEY, " in result.stderr
    assert "`darkroom init`" in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "http", "PORT: "),
        ("API_PORT", "http", "API_PORT: 'http' is not a port number from 1 to 65535; write for example API_PORT=8001"),
        ("API_HOST", "localhost", "API_HOST: 'localhost' does not appear to be an IPv4 or IPv6 address"),
        ("PUBLIC_URL", "example.com", "'example.com' is not an http:// or https:// address"),
        ("ACEDATACLOUD_BASE_URL", "api", "'api' is not an http:// or https:// address"),
        ("KIE_API_KEY", "two words", "KIE_API_KEY contains a space or an invalid character"),
        ("DARKROOM_SIGNING_KEYS", "k1:short", "DARKROOM_SIGNING_KEYS: expected `id:secret`"),
        ("DARKROOM_SIGNING_KEYS_FILE", "/missing", "DARKROOM_SIGNING_KEYS_FILE: cannot read /missing"),
    ],
)
def test_up_names_the_setting_that_is_wrong(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    result = darkroom("up")
    assert result.exit_code == 1
    assert sentence in result.stderr


@pytest.mark.parametrize(("name", "who"), [("PORT", "the receiver"), ("API_PORT", "the API")])
def test_up_refuses_a_port_that_is_taken(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch, name: str, who: str
) -> None:
    monkeypatch.setenv("PORT", str(free_port()))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv(name, str(taken.getsockname()[1]))
        for command in ("up", "demo"):
            result = darkroom(command)
            assert result.exit_code == 1
            assert f"{who} cannot listen on {name} {taken.getsockname()[1]}" in result.stderr


def test_up_refuses_a_folder_that_cannot_be_written(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path / "file"))
    for command in ("up", "demo"):
        result = darkroom(command)
        assert result.exit_code == 1
        assert "set DARKROOM_DATA to a writable folder" in result.stderr


def test_the_demo_says_what_it_ignores_and_shows_no_value(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2hunter2@127.0.0.1/ledger")
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("PORT", "none")
    result = darkroom("demo")
    assert result.exit_code == 1
    assert "ignores ACEDATACLOUD_API_TOKEN, AWS_PROFILE, DATABASE_URL\n" in result.stderr
    assert "hunter2" not in result.stderr


def test_two_demos_never_share_a_folder(tmp_path: Path) -> None:
    folders = [_new_folder(tmp_path) for _ in range(2)]
    assert len(set(folders)) == 2
    assert all(folder.is_dir() and folder.parent == tmp_path for folder in folders)


def test_every_wish_of_the_demo_can_be_fulfilled(
    environment: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KIE_API_KEY", "OHMYGPT_API_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("MJPROXY_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("DARKROOM_RECIPES", str(tmp_path / "recipes"))
    write_recipe(tmp_path / "recipes")
    with closing(Services(read_settings())) as here:
        demo = check(here, request()).wanted
    assert {one.provider for one in demo} == set(PROVIDERS)
    assert {"imagine", "blend", "describe", "translate", "video"} == {one.request.operation for one in demo}
    assert len(demo) == len({one.key for one in demo}) == 12
    assert [one.key for one in demo if one.recipe] == ["owl"]


def test_only_what_names_services_is_left_out_of_a_demo() -> None:
    kept = {"PATH": "/bin", "HOSTNAME": "here", "DARKROOM_DATA": "data", "PORT": "80", "LOG_LEVEL": "DEBUG"}
    left = {"KIE_API_KEY": "k", "OHMYGPT_ENCODING": "json", "MJPROXY_BASE_URL": "u"}
    left |= {"HOST": "::", "S3_BUCKET": "b", "REDIS_URL_FILE": "r", "DARKROOM_CONFIRM": "always", "PUBLIC_URL": "u"}
    assert without_services({**kept, **left}) == kept


def test_the_result_of_a_demo_counts_follow_ups_and_failures(ledger: Ledger) -> None:
    archived, failed = stories.archived(ledger), stories.failed(ledger)
    generations = tuple(ledger.generations.get([archived, failed]))
    assets = {one: tuple(found) for one, found in ledger.generations.assets_of([archived, failed]).items()}
    result = Result(generations, assets, {"acedata": 1}, events=1)
    assert not result.all_archived
    assert result.as_json() == {
        "submitted": 2,
        "archived": 1,
        "failed": 1,
        "assets": [
            {
                "generation": archived,
                "object_key": f"2026/11/21/single/{archived}/0.png",
                "sha256": "ab" * 32,
                "bytes": 1_234_567,
            }
        ],
        "charges": 1,
        "split": 0,
        "approved": 0,
        "events": 1,
        "providers": {"acedata": {"submitted": 2, "archived": 1, "charges": 1}},
        "moved": [],
    }


def test_commands_find_the_servers_of_their_data_folder(
    environment: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)
    (tmp_path / "running.json").write_text(json.dumps({"REDIS_URL": "redis://127.0.0.1:2/0", "S3_BUCKET": "mine"}))
    settings = read_settings()
    assert (settings.redis_url, settings.s3_bucket) == ("redis://127.0.0.1:2/0", "mine")
    assert os.environ["REDIS_URL"] == "redis://127.0.0.1:2/0", "Celery and boto3 read the environment"


def test_the_folder_of_a_demo_stands_for_itself(
    environment: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://company/ledger")
    monkeypatch.setenv("S3_BUCKET", "company")
    own = {"ACEDATACLOUD_API_TOKEN": "any", "ACEDATACLOUD_BASE_URL": "http://127.0.0.1:9"}
    (tmp_path / DEMO).write_text(json.dumps(own))
    settings = read_settings()
    assert settings.database_url is None
    assert settings.s3_bucket is None
    assert settings.acedatacloud_base_url == "http://127.0.0.1:9"


def test_the_log_of_the_processes_is_kept_and_its_end_remembered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ProcessLog(tmp_path / "processes.log", aloud=False) as log:
        for number in range(30):
            log.write("worker", f"line {number}")
        last = log.last_lines().splitlines()
    assert len((tmp_path / "processes.log").read_text().splitlines()) == 30
    assert last[-1] == "worker  | line 29"
    assert len(last) < 30
    assert capsys.readouterr().err == ""
    with ProcessLog(tmp_path / "processes.log", aloud=True) as log:
        log.write("worker", "aloud")
    assert capsys.readouterr().err == "worker  | aloud\n"


def test_up_refuses_a_bucket_that_does_not_answer(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_BUCKET", "pictures")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    result = darkroom("up")
    assert result.exit_code == 1
    assert 'Bucket "pictures" at http://127.0.0.1:1 is unreachable' in result.stderr
    assert "hunter2" not in result.stderr


class Minutes(StopSignals):
    """Something happens in each of them; after the last one the signal comes."""

    def __init__(self, *happenings: Callable[[], object]) -> None:
        super().__init__()
        self._happenings = list(happenings)

    def wait(self, seconds: float = 0) -> bool:
        if not self._happenings:
            return True
        self._happenings.pop(0)()
        return False


def test_up_tells_what_a_minute_has_brought_and_says_nothing_where_that_is_nothing(
    darkroom: Darkroom, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    stories.failed(ledger)
    settings = load_settings()
    up._tell_changes(settings, Minutes(lambda: None, lambda: stories.archived(ledger), lambda: stories.failed(ledger)))
    told = capsys.readouterr().err.splitlines()
    assert [re.sub(r"^\d\d:\d\d  ", "", line) for line in told] == ["1 archived", "1 failed"]


def test_up_waits_for_new_workers_of_this_host_and_not_for_those_that_it_knows(
    darkroom: Darkroom, ledger: Ledger
) -> None:
    settings, host = load_settings(), socket.gethostname()
    ledger.maintenance.beat(f"worker.1@{host}", 1)
    ledger.maintenance.beat(f"clock.1@{host}", STOPPED)
    ledger.maintenance.beat("worker.2@elsewhere", 2)
    known = workers_of_host(settings)
    assert known == {f"worker.1@{host}": "worker"}
    starts = [f"worker.3@{host}", f"clock.4@{host}"]
    minutes = Minutes(*(partial(ledger.maintenance.beat, name, 1) for name in starts), lambda: pytest.fail("too long"))
    up._wait_for_workers(settings, known, minutes)


def test_what_servers_write_of_themselves_is_left_out_and_everything_else_is_not() -> None:
    seen: list[str] = []
    tell = without_noise(lambda _, line: seen.append(line))
    tell("broker", "22846:M 29 Nov 2026 11:40:45.964 # WARNING Memory overcommit must be enabled! Without it, a ")
    tell("web", "[WARNING] Configuration allows spawning up to 1024 Python threads, which seems quite high")
    tell("s3", "2026/11/29 13:07:08 ERROR : darkroom/2026/11/29/shop/: Dir.Remove not empty")
    tell("worker", "")
    tell("broker", "# Can't save in background: fork: Cannot allocate memory")
    assert seen == ["# Can't save in background: fork: Cannot allocate memory"]
