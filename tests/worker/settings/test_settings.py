"""Settings come from the environment; a wrong one is one clear line."""

from datetime import timedelta
from pathlib import Path

import pytest

from worker.errors import ConfigurationError
from worker.settings.settings import Settings, load_settings

KEYS = "k1:" + "s" * 32


def test_nothing_needs_to_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.ledger_url == f"sqlite:///{tmp_path}/darkroom-data/ledger.sqlite3"
    assert settings.redis_url == "redis://127.0.0.1:6379/0"
    assert (settings.s3_bucket, settings.public_url, settings.port) == (None, None, 8000)


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch):
    for name in ("PUBLIC_URL", "DATABASE_URL", "PORT", "DARKROOM_SIGNING_KEYS"):
        monkeypatch.setenv(name, "")
    assert load_settings() == Settings()


def test_names_are_the_standard_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/darkroom")
    monkeypatch.setenv("PUBLIC_URL", "https://d.example/")
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", KEYS)
    monkeypatch.setenv("LOG_LEVEL", "debug")
    monkeypatch.setenv("ACEDATACLOUD_RATE", "0.5")
    settings = load_settings()
    assert settings.ledger_url == "postgresql://db/darkroom"
    assert settings.public_url == "https://d.example"
    assert (settings.log_level, settings.acedatacloud_rate) == ("DEBUG", 0.5)


def test_a_secret_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "token").write_text("from-the-file\n", encoding="utf-8")
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN_FILE", str(tmp_path / "token"))
    token = load_settings().acedatacloud_api_token
    assert token is not None
    assert token.get_secret_value() == "from-the-file"
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "from-the-environment")
    token = load_settings().acedatacloud_api_token
    assert token is not None
    assert token.get_secret_value() == "from-the-environment"


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file or directory"), (b"\xff\xfe", "it is not UTF-8 text"), (b" \n", "is empty")],
)
def test_a_file_that_holds_no_secret_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, words: str
):
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN_FILE", str(path))
    with pytest.raises(ConfigurationError, match=rf"^ACEDATACLOUD_API_TOKEN_FILE: .*{path}.*{words}"):
        load_settings()


def test_a_file_of_the_buckets_keys_that_is_not_there_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN_FILE", "/nowhere/token")
    with pytest.raises(ConfigurationError, match="AWS_SESSION_TOKEN_FILE: cannot read /nowhere/token"):
        load_settings()


def test_a_folder_instead_of_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS_FILE", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"DARKROOM_SIGNING_KEYS_FILE: cannot read .*: Is a directory"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "http", "PORT: Input should be a valid integer"),
        ("PORT", "70000", "PORT: Input should be less than or equal to 65535"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL: Input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("PUBLIC_URL", "d.example", "PUBLIC_URL: 'd.example' is not an http:// or https:// address"),
        ("PUBLIC_URL", "https://[::1", "PUBLIC_URL: Invalid IPv6 URL"),
        ("ACEDATACLOUD_BASE_URL", "ftp://x", "ACEDATACLOUD_BASE_URL: 'ftp://x' is not"),
        ("ACEDATACLOUD_RATE", "0", "ACEDATACLOUD_RATE: Input should be greater than 0"),
        ("ACEDATACLOUD_RATE", "inf", "ACEDATACLOUD_RATE: Input should be less than"),
        ("ACEDATACLOUD_RATE", "nan", "ACEDATACLOUD_RATE: Input should be"),
        ("ACEDATACLOUD_IN_FLIGHT", "0", "ACEDATACLOUD_IN_FLIGHT: Input should be greater than or equal to 1"),
        (
            "DARKROOM_DOWNLOAD_ALLOW",
            "minio, 0.0.0.0/0",
            "DARKROOM_DOWNLOAD_ALLOW: '0.0.0.0/0' covers nearly every address",
        ),
        (
            "MJPROXY_RESULT_HOSTS",
            "cdn.relay.example, github.io",
            "MJPROXY_RESULT_HOSTS: 'github.io' is a suffix under which",
        ),
        ("DARKROOM_POLL_SECONDS", "1e300", "DARKROOM_POLL_SECONDS: Input should be less than"),
        ("DARKROOM_CONFIRM", "maybe", "DARKROOM_CONFIRM: Input should be 'always', 'unsigned' or 'never'"),
        (
            "PUBLIC_URL",
            "https://d.example",
            "PUBLIC_URL is set, so providers will call back, but DARKROOM_SIGNING_KEYS",
        ),
    ],
)
def test_a_wrong_setting_is_one_clear_line(monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_each_wrong_setting_has_its_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("LOG_LEVEL", "x")
    with pytest.raises(ConfigurationError, match=r"(?s)PORT: .*\nLOG_LEVEL: "):
        load_settings()


def test_no_error_shows_a_secret(monkeypatch: pytest.MonkeyPatch):
    """Neither the error nor what it came from: a traceback shows both."""
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "S3CRET")
    monkeypatch.setenv("DATABASE_URL", "postgresql://darkroom:S3CRET@db/darkroom")
    monkeypatch.setenv("PUBLIC_URL", "https://d.example")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert "S3CRET" not in f"{caught.value}{caught.value.__cause__}"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "S3CRET")
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", KEYS)
    assert "S3CRET" not in repr(load_settings())
    assert "ssss" not in repr(load_settings())


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1


def test_without_callbacks_a_generation_is_asked_for_soon(monkeypatch: pytest.MonkeyPatch):
    assert load_settings().poll_after == timedelta(seconds=5)
    monkeypatch.setenv("DARKROOM_POLL_SECONDS", "2")
    assert load_settings().poll_after == timedelta(seconds=2)
    monkeypatch.setenv("DARKROOM_POLL_SECONDS", "300")
    assert load_settings().poll_after == timedelta(seconds=5)
    monkeypatch.setenv("PUBLIC_URL", "https://d.example")
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", KEYS)
    assert load_settings().poll_after == timedelta(seconds=300)
