"""Rehearses a ledger upgrade on a copy: whether it succeeds, how long it takes, and whether anything is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from tasks.usecases.doctor import unanswered
from tasks.usecases.services import require_ledger
from worker.ledger.database import Database
from worker.ledger.maintenance import ledger_bytes
from worker.ledger.migrations import Migration, missing, upgrade
from worker.ledger.rehearsal import Copy, damage, missing_parts, open_original, reason_of
from worker.services import Services
from worker.settings import Settings


@dataclass(frozen=True, slots=True)
class RehearsalRequest:
    """`scratch`: the URL of an empty PostgreSQL database for the copy; None: one is created beside the ledger."""

    scratch: str | None = None


@dataclass(frozen=True, slots=True)
class RehearsalTold:
    """Progress callbacks. `progress`: the share of the copy that is done; `say`: a sentence now and then."""

    progress: Callable[[float], None] = lambda _: None
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Ran:
    migration: Migration
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """`before` and `after`: revisions of the copy. `bytes`: of the ledger; `bytes_after`: of the upgraded copy.

    `problems`: why the ledger should not be upgraded, or not yet, one sentence each. `is_needed`: False for a ledger
    that needs no upgrade, which is not copied.
    """

    before: str
    after: str
    bytes: int | None = None
    bytes_after: int | None = None
    copy_seconds: float | None = None
    migrations: tuple[Ran, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_needed(self) -> bool:
        return self.bytes is not None

    @property
    def is_ok(self) -> bool:
        return not self.problems


def rehearse(settings: Settings, request: RehearsalRequest, told: RehearsalTold) -> Rehearsal:
    """Upgrade a copy of the ledger, check it, and run doctor's queries on it.

    The ledger itself is only read, and the copy is removed. Raises ConfigurationError if no copy can be made.
    """
    require_ledger(settings)
    original = open_original(settings.ledger_url, request.scratch)
    revision = original.revision()
    if not missing(revision):
        return Rehearsal(before=revision, after=revision)
    with original.copied(told.progress) as copy:
        return _on_copy(settings, copy, revision, told)


def _on_copy(settings: Settings, copy: Copy, revision: str, told: RehearsalTold) -> Rehearsal:
    ran: list[Ran] = []
    told.say(f"copied to {copy.place}; checking the copy")
    with closing(Database(copy.url)) as database:
        problems = [f"before the upgrade: {fault}" for fault in damage(database)]
        if not problems:
            problems += _upgraded(database, missing(revision), ran, told)
        if not problems:
            told.say("querying the upgraded copy")
            problems += [*damage(database), *missing_parts(database)]
        size = ledger_bytes(database)
    if not problems:
        with closing(Services(settings.model_copy(update={"database_url": copy.url}))) as here:
            problems += [f"`darkroom doctor` would not work: {why}" for why in unanswered(here)]
    return Rehearsal(
        before=revision,
        after=ran[-1].migration.revision if ran else revision,
        bytes=copy.bytes,
        bytes_after=size,
        copy_seconds=copy.seconds,
        migrations=tuple(ran),
        problems=tuple(problems),
    )


def _upgraded(
    database: Database, migrations: tuple[Migration, ...], ran: list[Ran], told: RehearsalTold
) -> Iterator[str]:
    """Run these and record each with its duration; yield which one fails, and why."""
    began = time.monotonic()

    def begin() -> None:
        nonlocal began
        began = time.monotonic()
        if len(ran) < len(migrations):
            told.say(f"running {_name(migrations[len(ran)])}")

    def reached(_: str) -> None:
        ran.append(Ran(migrations[len(ran)], time.monotonic() - began))
        begin()

    begin()
    try:
        upgrade(database, told.say, reached)
    except Exception as error:  # noqa: BLE001  whatever it is, it would make the upgrade fail
        yield f"{_name(migrations[len(ran)])} fails: {reason_of(error)}"


def _name(migration: Migration) -> str:
    return f"migration {migration.revision} ({migration.title})"
