"""What holds for every command: help at once, one sentence for an error, exit codes."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tasks import cli
from tests.patience import patient
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.ledger import Ledger

LATE = ("celery", "boto3", "sqlalchemy", "rich", "pydantic", "requests", "redis", "PIL", "kombu", "alembic")


def modules_after(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    program = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=patient(60)
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_help_loads_none_of_the_heavy_libraries() -> None:
    loaded = modules_after("from tasks.cli import cli; cli(['--help'], standalone_mode=False)")
    assert not loaded & set(LATE)


def test_a_question_to_the_ledger_loads_neither_celery_nor_boto3_nor_requests() -> None:
    loaded = modules_after("import tasks.cli.list")
    assert not loaded & {"celery", "kombu", "boto3", "requests", "PIL", "rich"}


def test_a_ledger_loads_the_dialect_of_its_own_database_alone() -> None:
    opened = "from worker.ledger import Ledger; Ledger('sqlite:////nowhere')"
    modules_after(f"{opened}; assert 'sqlalchemy.dialects.postgresql' not in sys.modules")


def test_the_views_of_all_results_load_the_use_cases_of_none() -> None:
    loaded = modules_after("from tasks.usecases import views; assert 'tasks.usecases.queries' not in sys.modules")
    assert not loaded & {"celery", "kombu", "boto3", "requests", "PIL", "rich", "sqlalchemy"}


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_says_the_same_about_itself_in_both_helps(name: str) -> None:
    command = cli.cli.get_command(click.Context(cli.cli), name)
    assert command is not None
    assert (command.help or "").startswith(cli.COMMANDS[name][1])
    assert command.name == name


def test_the_help_names_every_command(darkroom: Darkroom) -> None:
    result = darkroom("--help")
    assert result.exit_code == 0
    assert re.findall(r"^  ([\w-]+)  ", result.stdout, flags=re.MULTILINE) == list(cli.COMMANDS)


def test_an_unknown_command_is_a_mistake_of_usage(darkroom: Darkroom) -> None:
    result = darkroom("develop")
    assert result.exit_code == 2
    assert "No such command 'develop'" in result.stderr


def test_an_error_is_one_sentence_on_standard_error_and_exit_code_1(darkroom: Darkroom) -> None:
    result = darkroom("show", "gen_unknown", "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "darkroom: there is no generation 'gen_unknown': give its key, BATCH/KEY, its id, a part of its id, or the "
        "short id that `darkroom list` shows\n"
    )


def test_every_wrong_setting_is_named(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "much")
    monkeypatch.setenv("PUBLIC_URL", "example.com")
    result = darkroom("list")
    assert result.exit_code == 1
    assert "PORT: " in result.stderr
    assert "PUBLIC_URL: 'example.com' is not an http:// or https:// address" in result.stderr


def test_an_error_does_not_tell_a_password(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2hunter2@127.0.0.1:1/0")
    monkeypatch.setenv("DATABASE_URL", "mysql://me:hunter2hunter2@127.0.0.1/ledger")
    result = darkroom("list")
    assert result.exit_code == 1
    assert "DATABASE_URL names 'mysql'" in result.stderr
    assert "hunter2" not in result.stderr


def test_an_error_does_not_tell_a_signature(darkroom: Darkroom) -> None:
    result = darkroom("resume", "https://example.com/fox.png?hm=0123456789abcdef")
    assert result.exit_code == 1
    assert "unknown provider 'https://example.com/fox.png?hm=[redacted]'" in result.stderr


def test_a_ledger_that_does_not_answer_is_one_sentence(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2hunter2@127.0.0.1:1/ledger")
    result = darkroom("list")
    assert result.exit_code == 1
    assert result.stderr.startswith("darkroom: the ledger cannot be used now: ")
    assert "hunter2" not in result.stderr


def test_asking_where_no_ledger_is_leaves_no_empty_one_behind(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path / "nothing"))
    result = darkroom("list")
    assert result.exit_code == 1
    assert f"no ledger in {tmp_path / 'nothing'} yet: start `darkroom up`" in result.stderr
    assert not (tmp_path / "nothing").exists()


def test_ctrl_c_ends_a_command_without_a_traceback(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("worker.ledger.generations.queries.Queries.story", interrupted)
    result = darkroom("show", stories.queued(ledger)[0].id)
    assert result.exit_code == 130
    assert result.stderr == ""


@pytest.mark.processes
def test_a_reader_that_goes_away_is_no_error_to_talk_about(darkroom: Darkroom) -> None:
    arguments = ("submit", *(f"a fox number {number}" for number in range(400)), "--json")
    assert darkroom(*arguments).exit_code == 0
    program = "from tasks.cli import main; main()"
    environment = {"DARKROOM_DATA": str(darkroom.data), "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(
        [sys.executable, "-c", program, "list", "--limit", "400", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.readline()
        command.stdout.close()
        assert command.stderr.read() == b""
