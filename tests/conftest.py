"""Infrastructure of every test: a clean environment, no network, both kinds of databases, a clock set by hand."""

import gc
import ipaddress
import logging
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any

import botocore.session
import pytest
from botocore.hooks import EventAliaser
from botocore.loaders import create_loader
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.routing import Rule

from tests import examples, left_open, published_events, s3, signals
from tests.cheap_ledgers import cheap_ledgers, durable_ledgers
from tests.clock import FakeClock
from tests.patience import FACTOR
from tests.postgres import WARM, Postgres, bundled_binaries, running_server
from worker.celery import app
from worker.ledger import Ledger
from worker.ledger.database import Database
from worker.ledger.migrations import upgrade
from worker.ledger.schema import metadata
from worker.secrets.redaction import RedactingFormatter
from worker.settings import ENV_FILE_READ
from worker.settings.settings import Settings
from worker.wakeup import broker

#: seconds until a test is taken to hang, which no busy machine makes of one that does not
os.environ.setdefault("PYTEST_TIMEOUT", str(300 * FACTOR))

examples.register()


#: those without real processes whose tests take longest all the same
LONG = {
    "test_bites.py",
    "test_commands.py",
    "test_crash_points.py",
    "test_cut_commits.py",
    "test_fairness.py",
    "test_model.py",
    "test_submissions.py",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files with long tests first: at the end nobody waits for one, and long ones mostly wait themselves."""
    for item in items:
        if item.get_closest_marker("matrix") and _is_on_postgresql(item):
            item.add_marker("system")
    long = {item.path for item in items if item.path.name in LONG or item.get_closest_marker("processes")}
    items.sort(key=lambda item: item.path not in long)


def _is_on_postgresql(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    return parameters is not None and "postgresql" in parameters.params.values()


def pytest_collection_finish() -> None:
    """What is here now stays to the end: collecting garbage among it takes a tenth of the CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


@pytest.fixture(scope="session", autouse=True)
def a_clean_environment() -> Iterator[None]:
    """Whatever the machine is set up for, tests start from nothing."""
    ours = {name.upper() for name in Settings.model_fields}
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if (
                name.removesuffix("_FILE") in ours
                or name.startswith(("S3_", "AWS_", "DARKROOM_"))
                or name.lower().endswith("_proxy")
            ):
                patch.delenv(name)
        # Not the `.env` of whoever runs the tests in a checkout.
        patch.setenv(ENV_FILE_READ, "")
        # They keep what they read on first use: not what one test has set, for all tests after it.
        assert app.conf.broker_url
        assert broker()
        yield


@pytest.fixture(scope="session", autouse=True)
def only_loopback() -> Iterator[None]:
    """No test reaches another machine; one that tries fails, even where the code under test forgives a lost network."""
    with pytest.MonkeyPatch.context() as patch:
        for verb in ("connect", "connect_ex"):
            patch.setattr(socket.socket, verb, _guarded(getattr(socket.socket, verb)))
        patch.setattr(socket, "getaddrinfo", _without_dns(socket.getaddrinfo))
        yield


def _guarded(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in {socket.AF_INET, socket.AF_INET6} and not _is_loopback(address[0]):
            pytest.fail(f"the test tried to reach {address[0]} port {address[1]}, but tests are offline")
        return connect(self, address)

    return guarded


def _without_dns(resolve: Any) -> Any:
    """As on a machine without a network, and at once: a DNS server that does not answer is waited for."""

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or "localhost"
        with suppress(ValueError):
            if name == "localhost" or ipaddress.ip_address(name.partition("%")[0]):
                return resolve(host, *arguments, **options)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    return resolved


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@pytest.fixture(scope="session", autouse=True)
def signals_are_not_ignored() -> Iterator[None]:
    with signals.not_ignored():
        yield


@pytest.fixture(scope="session", autouse=True)
def ledgers_are_cheap() -> Iterator[None]:
    with cheap_ledgers():
        yield


@pytest.fixture
def durable() -> Iterator[None]:
    """Ledgers of this test wait for the disk."""
    with durable_ledgers():
        yield


@pytest.fixture(scope="session", autouse=True)
def routes_are_compiled_once() -> Iterator[None]:
    """Each sandbox is an application of its own with the same routes, which take most of the time to make it."""
    compiled: dict[Any, Any] = {}
    compile_one = Rule._compile_builder

    def kept(rule: Rule, append_unknown: bool = True) -> Any:
        key = (*rule._trace, repr(rule.defaults), append_unknown)
        if key not in compiled:
            compiled[key] = compile_one(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", kept)
        yield


class CompiledTemplates(BytecodeCache):
    """In memory, by name, file, and text."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._compiled.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code is not None
        self._compiled[bucket.key, bucket.checksum] = bucket.code


@pytest.fixture(scope="session", autouse=True)
def templates_are_compiled_once() -> Iterator[None]:
    """A process compiles those of its pages once, 0.1 s of CPU for the first; a test run makes hundreds of apps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flask, "jinja_options", {"bytecode_cache": CompiledTemplates()})
        yield


@pytest.fixture(scope="session", autouse=True)
def descriptions_of_aws_are_read_once() -> Iterator[None]:
    """Each session of boto3 reads those of S3 anew, 0.1 s of CPU; a process has one session, a test run hundreds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        names: dict[str, str] = {}
        alias = EventAliaser._alias_event_name

        def aliased(self: EventAliaser, name: str) -> str:
            if name not in names:
                names[name] = alias(self, name)
            return names[name]

        # Each client registers the same 150 names, a third of the time to make it.
        patch.setattr(EventAliaser, "_alias_event_name", aliased)
        yield


@pytest.fixture(scope="module", autouse=True)
def all_is_closed() -> Iterator[None]:
    """What tests open is closed by whoever opened it, on every Python and not only where a warning says so."""
    left_open.watch()
    yield
    found = left_open.left_open()
    assert not found, "not closed:\n" + "\n".join(found)


@pytest.fixture(scope="module", autouse=True)
def the_environment_is_put_back() -> Iterator[None]:
    """A variable that a test leaves makes tests of other files fail, but only where they come after it."""
    before = dict(os.environ)
    yield
    left = {name for name, _ in before.items() ^ os.environ.items()} - {"PYTEST_CURRENT_TEST"}
    os.environ.clear()
    os.environ.update(before)
    assert not left, f"tests of this file left {', '.join(sorted(left))} in the environment"


@pytest.fixture(scope="session", autouse=True)
def events_are_compared() -> Iterator[None]:
    with published_events.checked():
        yield


@pytest.fixture(scope="module", autouse=True)
def events_are_as_published() -> Iterator[None]:
    """Whatever a test is about, the events that it causes are as subscribers may expect them."""
    yield
    found = published_events.found_wrong()
    assert not found, "events that are not as published:\n" + "\n".join(found)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What the program under test sets up for the logs of its process ends with the test."""
    root = logging.getLogger()
    named = (logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger))
    before = {logger: logger.level for logger in (root, *named)}
    yield
    for logger, level in before.items():
        if logger.level != level:
            logger.setLevel(level)
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler.formatter, RedactingFormatter)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The server named by TEST_DATABASE_URL (its user may create databases), or one of our own."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield Postgres(given)
        return
    binaries = bundled_binaries()
    if binaries is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no PostgreSQL: set TEST_DATABASE_URL, or install the extra `dev`")
    with running_server(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_database(postgres: Postgres) -> Iterator[str]:
    name = f"darkroom_{secrets.token_hex(6)}"
    postgres.create(name)
    _upgrade(postgres.url(name))
    yield name
    postgres.drop(name)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "migrated.sqlite3"
    _upgrade(f"sqlite:///{path}")
    return path


def _upgrade(url: str) -> None:
    ledger = Ledger(url)
    upgrade(ledger.database)
    ledger.close()


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """A ledger of this test's own, with its tables and no rows."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'ledger.sqlite3')}"


@pytest.fixture
def postgresql_url(postgres: Postgres, migrated_database: str) -> str:
    """A ledger with its tables and no rows."""
    postgres.empty(migrated_database, [table.name for table in reversed(metadata.sorted_tables)])
    return postgres.url(migrated_database)


@pytest.fixture
def start(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, rclone: s3.Server, tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    """Start the whole flow in this process (`tests.pipeline.starting`)."""
    # It imports everything, which most tests do without.
    from tests.pipeline import starting  # noqa: PLC0415

    with starting(monkeypatch, sqlite_url, rclone, tmp_path) as starter:
        yield starter


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Both kinds, one after the other: with tables, without rows."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Both kinds, one after the other: without tables."""
    if request.param == "sqlite":
        file = tmp_path / "blank.sqlite3"
        file.touch()
        yield f"sqlite:///{file}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"darkroom_{secrets.token_hex(6)}"
    server.create(name)
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class WarmDatabase:
    """One whose connections are kept: each new one reads PostgreSQL's catalogue anew, for half of what a test costs."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.database = Database(url)

    def renew(self) -> None:
        """Start afresh after a test that left a connection in use."""
        self.database.close()
        self.database = Database(self._url)


@pytest.fixture(scope="session")
def warm_database(postgres: Postgres, migrated_database: str) -> Iterator[WarmDatabase]:
    warm = WarmDatabase(postgres.url(migrated_database, application_name=WARM))
    yield warm
    warm.database.close()


@pytest.fixture
def fresh_ledger(database_url: str, clock: FakeClock) -> Iterator[Ledger]:
    """An empty ledger on either kind of database, whose time is `clock` and which nobody has used before."""
    ledger = Ledger(database_url, clock)
    yield ledger
    ledger.close()


@pytest.fixture
def ledger(request: pytest.FixtureRequest, database_url: str, clock: FakeClock) -> Iterator[Ledger]:
    """An empty ledger on either kind of database, whose time is `clock`."""
    if database_url.startswith("sqlite"):
        yield request.getfixturevalue("fresh_ledger")
        return
    warm = request.getfixturevalue("warm_database")
    database = warm.database
    database.clock = clock
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worker.ledger.Database", lambda *_: database)
        ledger = Ledger(database.url)
    yield ledger
    if database.engine.pool.checkedout():
        warm.renew()


@pytest.fixture
def opened() -> Iterator[Callable[[str], Ledger]]:
    """Open ledgers that are closed at the end."""
    ledgers: list[Ledger] = []

    def open_ledger(url: str) -> Ledger:
        ledgers.append(Ledger(url))
        return ledgers[-1]

    yield open_ledger
    for ledger in ledgers:
        ledger.close()


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    """A real S3 server with the bucket `s3.BUCKET`."""
    with s3.rclone_server(tmp_path_factory.mktemp("rclone")) as server:
        yield server
        # Others would take them for theirs. Their keys begin with the name of the test.
        assert s3.unfinished_uploads(server) == []
