"""What a process works with is built once, whoever asks first."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import left_open, s3
from tests.factories import at_once
from worker.services import Services, secret_values
from worker.settings.settings import Settings, load_settings, secret_names


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, sqlite_url: str, tmp_path: Path) -> Iterator[Services]:
    s3.only_test_servers(monkeypatch, tmp_path)
    settings = Settings(database_url=sqlite_url, s3_bucket=s3.BUCKET, kie_api_key="key")  # type: ignore[arg-type]
    with closing(Services(settings)) as services:
        yield services


@pytest.mark.parametrize("part", ["ledger", "archive", "downloader"])
def test_threads_that_ask_at_the_same_moment_get_the_same(here: Services, part: str):
    """Another one would be closed by nobody; `cached_property` builds one for each thread from Python 3.12 on."""
    built = at_once(*[lambda: getattr(here, part)] * 8)
    assert len({id(one) for one in built}) == 1
    assert type(built[0]).__name__ == {"archive": "S3Archive"}.get(part, part.capitalize())


def test_an_account_of_a_provider_is_one_for_all_threads(here: Services):
    assert len({id(one) for one in at_once(*[lambda: here.provider("kie")] * 8)}) == 1


def test_a_connection_that_close_forgets_is_found_on_every_python(sqlite_url: str, monkeypatch: pytest.MonkeyPatch):
    """The check that every test ends with (`tests/conftest.py`); only Python 3.13 warns of a SQLite connection."""
    services = Services(Settings(database_url=sqlite_url))
    services.ledger.generations.page()
    monkeypatch.setattr(left_open, "PATIENCE", 0.1)
    (found,) = left_open.left_open()
    assert "sqlite3.Connection" in found
    assert "services.ledger.generations.page()" in found
    services.close()
    left_open.watch()


def test_every_credential_of_settings_and_environment_is_among_the_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """The settings are found by their kind, so that a new one is not forgotten."""
    (tmp_path / "session").write_text("of-a-file\n")
    monkeypatch.setenv("AWS_SESSION_TOKEN_FILE", str(tmp_path / "session"))
    for name in ("AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "SMTP_PASSWORD"):
        monkeypatch.setenv(name, f"of-{name}")
    for name in secret_names():
        monkeypatch.setenv(name, f"k1:of-{name}")
    # These are read by their form.
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", "k1:" + "of-the-signing-keys" * 2)
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", "whsec_" + "b2YtYS1zdWJzY3JpYmVy" * 2)
    monkeypatch.setenv("DARKROOM_NOTIFY_URLS", "https://hook.example/of-a-path")
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:of[the%20ledger@db/x?password=of-its-query")
    monkeypatch.setenv("REDIS_URL", "redis://:of-the-broker@redis/0")
    secrets = secret_values(load_settings())
    formed = {"DARKROOM_SIGNING_KEYS", "DARKROOM_NOTIFY_SECRET", "DARKROOM_NOTIFY_URLS"}
    expected = {f"of-{name}" for name in {"AWS_SECRET_ACCESS_KEY", "PGPASSWORD", *(secret_names() - formed)}}
    expected |= {"of-the-signing-keys" * 2, "whsec_" + "b2YtYS1zdWJzY3JpYmVy" * 2, "https://hook.example/of-a-path"}
    expected |= {"of[the ledger", "of[the%20ledger", "of-its-query", "of-the-broker", "of-a-file"}
    assert expected | {"of-AWS_CONTAINER_AUTHORIZATION_TOKEN", "of-SMTP_PASSWORD"} <= set(secrets)


@pytest.mark.parametrize("password", ["pa[ss", "pa]ss", "[::1", "p?a#s"])
def test_a_password_of_the_ledger_with_brackets_stops_no_process(password: str):
    assert password in secret_values(Settings(database_url=f"postgresql://me:{password}@db/x"))
