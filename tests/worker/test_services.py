"""What a process works with is built once, whoever asks first."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests import left_open, s3
from tests.factories import at_once
from worker.services import Services
from worker.settings import Settings


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
    services.ledger.queries.page()
    monkeypatch.setattr(left_open, "PATIENCE", 0.1)
    (found,) = left_open.left_open()
    assert "sqlite3.Connection" in found
    assert "services.ledger.queries.page()" in found
    services.close()
    left_open.watch()
