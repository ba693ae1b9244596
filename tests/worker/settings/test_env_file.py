"""`.env` in the working folder, and variables that are no settings."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.errors import ConfigurationError
from worker.settings import ENV_FILE_READ, env_file_warnings, misspelt_settings, use_env_file
from worker.settings.settings import load_settings

EXAMPLE = Path(__file__).parents[3] / "deploy" / "env.example"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is read from a file stays in the environment, which is put back here."""
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    del os.environ[ENV_FILE_READ]
    yield
    os.environ.clear()
    os.environ.update(before)


def write(text: str, mode: int = 0o600) -> Path:
    path = Path(".env").absolute()
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_what_the_environment_does_not_say_is_read_from_the_file_and_reaches_libraries() -> None:
    write("# ours\nexport KIE_RATE=0.5\nLOG_LEVEL='debug'\nKIE_API_KEY=a$b # not expanded\n\nAWS_ACCESS_KEY_ID=me\n")
    settings = load_settings()
    assert (settings.kie_rate, settings.log_level) == (0.5, "DEBUG")
    assert settings.kie_api_key is not None
    assert settings.kie_api_key.get_secret_value() == "a$b"
    assert os.environ["AWS_ACCESS_KEY_ID"] == "me"


@pytest.mark.parametrize("variable", ["KIE_API_KEY", "kie_api_key", "KIE_API_KEY_FILE"])
def test_the_environment_wins_however_it_says_it(variable: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-outside")
    os.environ[variable] = str(tmp_path / "key") if variable.endswith("_FILE") else "from-outside"
    write("KIE_API_KEY=from-the-file\n")
    key = load_settings().kie_api_key
    assert key is not None
    assert key.get_secret_value() == "from-outside"


def test_a_variable_that_is_set_to_nothing_stays_unset() -> None:
    os.environ["KIE_RATE"] = ""
    write("KIE_RATE=5\n")
    assert load_settings().kie_rate == 1.8


def test_the_example_can_be_used_as_it_is() -> None:
    default = load_settings()
    write(EXAMPLE.read_text(encoding="utf-8"))
    assert load_settings() == default
    assert os.environ["AWS_REGION"] == "us-east-1"
    assert list(misspelt_settings(os.environ)) == []


def test_the_file_is_read_once_and_not_again_by_children() -> None:
    path = write("KIE_RATE=5\n")
    use_env_file()
    assert os.environ[ENV_FILE_READ] == str(path)
    del os.environ["KIE_RATE"]
    assert load_settings().kie_rate == 1.8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A=1\nKIE_API_KEY\n", "line 2 gives KIE_API_KEY no value: write NAME=value"),
        ("A=1\n\n=x\n", "line 3 is not a setting: write NAME=value"),
        ("A='hunter2\n", "line 1 is not a setting: write NAME=value"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_its_text_is_not_shown(text: str, words: str) -> None:
    path = write(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{path}, ")
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_file_of_bytes_is_no_traceback() -> None:
    Path(".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"^\.env: cannot read .* it is not UTF-8 text"):
        load_settings()


def test_a_file_that_others_may_write_is_refused() -> None:
    """A line of theirs would have our keys sent to their server."""
    write("KIE_BASE_URL=https://thief.example\n", mode=0o646)
    with pytest.raises(ConfigurationError, match="so it is not read: run `chmod 600"):
        load_settings()


def test_a_file_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("KIE_BASE_URL=https://thief.example\n")
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigurationError, match="belongs to another user"):
        load_settings()


def test_a_file_that_others_may_read_is_a_warning() -> None:
    path = write("KIE_RATE=5\n", mode=0o644)
    use_env_file()
    (warning,) = env_file_warnings(os.environ)
    assert warning == f"other users can read {path}, which may hold keys: run `chmod 600 {path}`"
    path.chmod(0o600)
    assert list(env_file_warnings(os.environ)) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("KIE_RATES", "KIE_RATE"),
        ("KIE_APIKEY", "KIE_API_KEY"),
        ("ACEDATACLOUD_API_BASE_URL", "ACEDATACLOUD_BASE_URL"),
        ("OHMYGPT_KEY", "OHMYGPT_API_KEY"),
        ("MJPROXY_SECRET_FILE", "MJPROXY_API_SECRET"),
        ("DARKROOM_SIGNING_KEY", "DARKROOM_SIGNING_KEYS"),
        ("S3_ENDPOINT_URL", "AWS_ENDPOINT_URL"),
        ("darkroom_s3_bucket", "S3_BUCKET"),
    ],
)
def test_a_misspelt_setting_is_named_with_the_nearest_right_one(name: str, meant: str) -> None:
    assert list(misspelt_settings({name: "x"})) == [f"{name} is not a setting; did you mean {meant}?"]


def test_what_is_like_none_of_them_is_told_without_a_guess() -> None:
    assert list(misspelt_settings({"KIE_ZZZZZZZZZZZZ": "1"})) == ["KIE_ZZZZZZZZZZZZ is not a setting and has no effect"]


def test_variables_of_others_are_none_of_our_business() -> None:
    of_kubernetes = {
        "DARKROOM_SERVICE_HOST": "10.0.0.1",
        "DARKROOM_SERVICE_PORT_HTTP": "80",
        "DARKROOM_PORT": "tcp://10.0.0.1:80",
        "DARKROOM_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    ours = {"KIE_RATE": "1", "kie_api_key_file": "/key", "DARKROOM_DATA": "data", ENV_FILE_READ: "/x/.env"}
    assert list(misspelt_settings({**of_kubernetes, **ours, "PATH": "/bin", "AWS_PROFILE": "me"})) == []


@pytest.mark.processes
@pytest.mark.parametrize(
    ("program", "said"),
    [
        # A worker, a clock: their broker is the first thing that they read.
        (("-c", "from worker.celery import app; print(app.conf.broker_url)"), "redis://from-the-file:1/0"),
        # The receiver looks before it gives up the secrets that it does not need, and its second self not again.
        (("-m", "webhook"), "DARKROOM_SIGNING_KEYS: expected `id:secret`"),
        (
            ("-c", "import sys; from tasks.cli import main; sys.argv[1:] = ['list']; main()"),
            "DATABASE_URL points to /from/the/file, which does not exist",
        ),
    ],
)
def test_every_process_reads_it(program: tuple[str, ...], said: str, tmp_path: Path) -> None:
    write(
        "REDIS_URL=redis://from-the-file:1/0\nPUBLIC_URL=https://d.example\nDARKROOM_SIGNING_KEYS=k1:short\n"
        "KIE_API_KEY=any\nDATABASE_URL=sqlite:////from/the/file\n"
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    ended = subprocess.run([sys.executable, *program], env=env, capture_output=True, text=True, check=False)
    assert said in ended.stdout + ended.stderr
