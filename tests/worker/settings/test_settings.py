"""Settings come from the environment; a wrong one is one clear line."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic_settings import EnvSettingsSource

from worker.archive.key_template import TEMPLATE_EXAMPLE
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


def test_a_name_may_be_written_in_small_letters(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("port", "8123")
    assert load_settings().port == 8123


def test_no_setting_is_one_that_pydantic_would_read_as_json():
    """`Environment` gives each as it came."""
    source = EnvSettingsSource(Settings)
    assert not [name for name, field in Settings.model_fields.items() if source.field_is_complex(field)]


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
        ("PORT", "http", "PORT: 'http' is not a whole number from 1 up to 65,535; write for example PORT=8000"),
        ("PORT", "70000", "PORT: '70000' is not a whole number from 1 up to 65,535"),
        (
            "LOG_LEVEL",
            "loud",
            "LOG_LEVEL: 'LOUD' is not DEBUG, INFO, WARNING or ERROR",
        ),
        ("PUBLIC_URL", "d.example", "PUBLIC_URL: 'd.example' is not an http:// or https:// address"),
        ("KIE_BASE_URL", "http://two words", "KIE_BASE_URL: 'http://two words' is not an http:// or https:// address"),
        ("PUBLIC_URL", "https://[::1", "PUBLIC_URL: 'https://[::1' is not an http:// or https:// address"),
        ("ACEDATACLOUD_BASE_URL", "ftp://x", "ACEDATACLOUD_BASE_URL: 'ftp://x' is not"),
        ("ACEDATACLOUD_RATE", "0", "ACEDATACLOUD_RATE: '0' is not a number above 0 up to 1,000,000"),
        ("ACEDATACLOUD_RATE", "inf", "ACEDATACLOUD_RATE: 'inf' is not a number above 0"),
        ("ACEDATACLOUD_RATE", "nan", "ACEDATACLOUD_RATE: 'nan' is not a number"),
        ("ACEDATACLOUD_IN_FLIGHT", "0", "ACEDATACLOUD_IN_FLIGHT: '0' is not a whole number from 1 on"),
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
        ("DARKROOM_POLL_SECONDS", "1e300", "DARKROOM_POLL_SECONDS: '1e300' is not a number above 0 up to 86,400"),
        ("DARKROOM_API_RATE", "fast", "DARKROOM_API_RATE: 'fast' is not a rate such as 100/second"),
        ("DARKROOM_API_RATE", "0/minute", "DARKROOM_API_RATE: '0/minute' is not a rate of 1 to 100,000 requests"),
        ("DARKROOM_CONFIRM", "maybe", "DARKROOM_CONFIRM: 'maybe' is not always, unsigned or never"),
        (
            "DARKROOM_BATCH_RESULTS",
            "csv, xls",
            "DARKROOM_BATCH_RESULTS: 'xls' is not one of csv, jsonl, xlsx, html; write for example csv,html",
        ),
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


def test_all_faults_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fields, of files, of proxies, of the bucket's keys, and where two settings contradict each other."""
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("KIE_API_KEY_FILE", "/nowhere/key")
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example:1080")
    monkeypatch.setenv("AWS_SESSION_TOKEN_FILE", "/nowhere/token")
    monkeypatch.setenv("PUBLIC_URL", "https://d.example")
    monkeypatch.setenv("DARKROOM_NOTIFY_URLS", "https://hooks.example")
    monkeypatch.setenv("S3_KEY_TEMPLATE", "{batch}/{sku}-{index}.{ext}")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    lines = str(caught.value).splitlines()
    for beginning in (
        "PORT: ", "KIE_API_KEY_FILE: cannot read", "HTTPS_PROXY is not a proxy address",
        "AWS_SESSION_TOKEN_FILE: ", "PUBLIC_URL is set, so", "DARKROOM_NOTIFY_URLS is set, but",
    ):  # fmt: skip
        assert len([line for line in lines if line.startswith(beginning)]) == 1, beginning
    of_template = [line for line in lines if line.startswith("S3_KEY_TEMPLATE: ")]
    words = (
        *("must start with {prefix}/", "names sku, which is not a field", "needs the folders {batch}/{root}/{action}"),
        *("fields: prefix, yyyy", "such as "),
    )
    assert len(of_template) == len(words)
    for line, part in zip(of_template, words, strict=True):
        assert part in line


def test_the_example_of_a_key_template_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_KEY_TEMPLATE", TEMPLATE_EXAMPLE)
    assert load_settings().s3_key_template == "{prefix}/{batch}/{root}/{action}/{root}-{index}.{ext}"


def test_a_number_among_a_few_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIE_VARY_BASE", "0")
    assert load_settings().kie_vary_base == 0


@pytest.mark.parametrize(
    "proxy", ["foo", "foo:bar", "socks5://proxy", "http://", "http://proxy:port", "http://proxy/path"]
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy"])
def test_a_proxy_that_is_none_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, proxy: str
) -> None:
    monkeypatch.setenv(name, proxy)
    with pytest.raises(ConfigurationError, match=f"^{name} is not a proxy address: write it as http://HOST:PORT"):
        load_settings()


#: what is wrong for some settings; right for others
ODD = ("", " ", "foo", "-1", "0", "1e999", "nan", "http://[", "http://h:99999999", "a,,b", "{", "\\", "\x07", "9" * 400)
#: how pydantic and Python speak
THEIRS = (
    "Input should", "unable to", "validation error", "Value error", "String should", "should match", "invalid literal",
    "Invalid IPv6", "Port could not", "Port out of range", "codec can't", "pydantic", "Traceback", "errno",
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_whatever_is_wrong_is_told_in_our_own_words_with_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for variable, value in [*((name.upper(), one) for one in ODD), (f"{name.upper()}_FILE", str(tmp_path / "bytes"))]:
        with monkeypatch.context() as patch:
            patch.setenv(variable, value)
            try:
                load_settings()
            except ConfigurationError as error:
                text = str(error)
                assert all(variable.removesuffix("_FILE") in line for line in text.splitlines()), text
                assert not [words for words in THEIRS if words in text], text
            else:
                assert not variable.endswith("_FILE")


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
