"""What waits says why, since when, and what ends it: the same in every command and in the clock's log."""

import json
import logging
import re
from datetime import timedelta
from pathlib import Path

import pytest

from tasks import sweep
from tasks.cli.ui import progress
from tasks.usecases.scope import FamilyScope
from tasks.waiting import Cause, Wait, wait_of, waits_of
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import AccountBlocked, NotTaken, ProviderError, Uncertain
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Postponed
from worker.ledger.dispatch import Limits
from worker.providers import PROVIDERS
from worker.secrets.account_keys import key_mark
from worker.services import Services
from worker.settings.settings import Settings

PLENTY = Limits(1000, 1000)
TOKEN = "a-token-of-the-tests"
FORBIDDEN = "its host is not one of the provider's hosts; if you trust it, add it to DARKROOM_DOWNLOAD_ALLOW"


def blocked(token: str = TOKEN) -> AccountBlocked:
    error = AccountBlocked("this key is not known", code="invalid_token", status=401)
    error.key_mark = key_mark(token, "https://api.acedata.cloud")
    return error


def refused(ledger: Ledger, error: ProviderError, times: int = 1) -> None:
    for _ in range(times):
        stories.answered(ledger, error)


def forbidden(ledger: Ledger, *hosts: str, error: str = FORBIDDEN) -> list[str]:
    links = [f"http://{host}:9000/{number}.png" for number, host in enumerate(hosts)]
    ids = [stories.succeeded(ledger, f"task-{link}", link=link) for link in links]
    claims = ledger.assets.claim(len(links), stories.MINUTE)
    postponed = [Postponed(index=0, error=f"{claim.assets[0].url}: {error}") for claim in claims]
    ledger.assets.record(
        [Archived(claim, (result,), described=False) for claim, result in zip(claims, postponed, strict=True)]
    )
    return ids


def waits(ledger: Ledger, **settings: object) -> list[Wait]:
    """What there is beside the workers, who are at work."""
    ledger.maintenance.beat("worker@here", 1)
    return list(waits_of(ledger, Settings(**settings)))  # type: ignore[arg-type]


@pytest.fixture
def paused(darkroom: Darkroom, ledger: Ledger) -> str:
    refused(ledger, blocked())
    ledger.maintenance.beat("worker@here", 1)
    return ledger.generations.page()[0].id


@pytest.mark.usefixtures("darkroom")
def test_where_nothing_waits_nothing_is_said(ledger: Ledger) -> None:
    stories.queued(ledger)
    assert waits(ledger) == []


@pytest.mark.parametrize("how", [("list",), ("show", "{}"), ("doctor",), ("list", "--json"), ("show", "{}", "--json")])
def test_every_command_says_why_since_when_and_what_ends_it(
    darkroom: Darkroom, paused: str, how: tuple[str, ...]
) -> None:
    result = darkroom(*(one.format(paused) for one in how))
    text = " ".join(f"{result.stdout} {result.stderr}".split())
    for words in ("acedata: paused since ", " until ", "this key is not known", "`darkroom resume acedata`"):
        assert words in text
    if "--json" in how:
        record = json.loads(result.stdout)["waits_for"]
        assert (record["cause"], record["subject"], record["remedy"]) == (
            "pause",
            "acedata",
            "`darkroom resume acedata`",
        )
        assert record["since"] < record["until"]


def test_the_doctor_fails_for_a_key_and_warns_of_what_ends_by_itself(darkroom: Darkroom, ledger: Ledger) -> None:
    def verdict() -> str:
        checks = json.loads(darkroom("doctor", "--json").stdout)["checks"]
        return next(one["verdict"] for one in checks if one["check"] == "pauses")

    refused(ledger, Uncertain("no clear answer", code="http_500", status=500), times=5)
    assert verdict() == "warn"
    ledger.dispatch.resume_account("acedata")
    refused(ledger, blocked())
    assert verdict() == "fail"


def test_watch_says_it_once_where_it_is_piped_and_above_the_live_picture(
    darkroom: Darkroom, ledger: Ledger, paused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter((False, False, True))
    monkeypatch.setattr(FamilyScope, "is_done", lambda _: next(looks))
    monkeypatch.setattr(progress, "_wait", lambda *_: None)
    said = darkroom("watch", paused).stderr
    assert said.count("waiting: acedata: paused since ") == 1
    picture = progress.picture_of(FamilyScope(ledger, [paused]), 24, waits(ledger))
    assert picture.reasons[0].startswith("waiting: acedata: paused since ")


def test_the_log_says_it_when_it_begins_and_when_it_ends(
    darkroom: Darkroom, ledger: Ledger, paused: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert darkroom.data
    assert paused
    monkeypatch.setattr(sweep, "WAITS_SECONDS", 0)
    here, tell = Services(Settings()), sweep.WaitsTold()
    with caplog.at_level(logging.WARNING):
        tell(here)
        tell(here)
        ledger.dispatch.resume_account("acedata")
        tell(here)
        tell(here)
    here.close()
    first, last = caplog.messages
    assert first.startswith("waiting: acedata: paused since ")
    assert last == "no longer waiting: pause acedata"


# --- accounts


@pytest.mark.usefixtures("darkroom")
def test_a_changed_key_ends_the_pause_of_the_old_one_after_a_minute(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(ledger, blocked())
    address = "https://api.acedata.cloud"

    def dispatched(key: str, address: str = address) -> int:
        marks = {"default": key_mark(key, address)}
        return ledger.dispatch.run("acedata", PLENTY, None, marks.keys(), marks)

    assert dispatched(TOKEN) == 0
    assert [one.paused_key for one in ledger.dispatch.throttled_accounts()] == [key_mark(TOKEN, address)]
    assert TOKEN not in str(ledger.dispatch.throttled_accounts())
    assert dispatched("another-token") == 0, "or two machines with two keys pause and lift it in turn"
    monkeypatch.setattr("worker.ledger.dispatch.accounts._LEAST_PAUSE", timedelta())
    assert dispatched("another-token") == 1
    assert ledger.dispatch.throttled_accounts() == []


@pytest.mark.usefixtures("darkroom")
def test_a_pause_of_the_providers_own_outlives_a_changed_key(ledger: Ledger) -> None:
    refused(ledger, NotTaken("slower", code="busy", status=429, retry_after=timedelta(minutes=30)))
    marks = {"default": key_mark("another-token", "https://api.acedata.cloud")}
    stories.queued(ledger)
    assert ledger.dispatch.run("acedata", PLENTY, None, marks.keys(), marks) == 0


@pytest.mark.usefixtures("darkroom")
def test_an_open_circuit_says_since_when(ledger: Ledger) -> None:
    before = ledger.database.clock()
    refused(ledger, Uncertain("no clear answer", code="http_500", status=500), times=5)
    (wait,) = waits(ledger)
    assert wait.cause is Cause.BREAKER
    assert wait.since is not None
    assert before <= wait.since <= ledger.database.clock()
    (queued,) = stories.queued(ledger)
    assert wait_of(queued, [wait]) is wait


@pytest.mark.usefixtures("darkroom")
def test_with_another_account_nothing_waits_for_the_one_that_is_paused(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused(ledger, blocked())
    (queued,) = stories.queued(ledger)
    assert wait_of(queued, waits(ledger)) is not None
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "default:one-key,shop:another-key")
    assert wait_of(queued, waits(ledger)) is None
    assert [wait.subject for wait in waits(ledger)] == ["acedata"]


# --- the rest


@pytest.mark.usefixtures("darkroom")
def test_what_a_budget_holds_says_which(ledger: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("prices: [{price: 1}]\ncaps: {day: 1}\n")
    stories.queued(ledger, "a", "b")
    prices = Settings(darkroom_prices=file).read_prices(PROVIDERS)
    ledger.dispatch.run("acedata", PLENTY, prices)
    (wait,) = waits(ledger, darkroom_prices=file)
    assert (wait.cause, wait.count, wait.remedy) == (
        Cause.BUDGET,
        1,
        f"raise the cap in {file} and restart the workers",
    )
    assert wait.since is not None
    assert wait.until is not None
    held = next(one for one in ledger.generations.page() if one.reason == "budget")
    assert wait_of(held, [wait]) is wait


@pytest.mark.usefixtures("darkroom")
def test_a_host_that_is_not_allowed_is_one_cause_however_many_wait(ledger: Ledger) -> None:
    ids = forbidden(ledger, "127.0.0.1", "127.0.0.1", "127.0.0.1", "relay.test")
    here, there = waits(ledger)
    assert here.told.startswith("host 127.0.0.1 is not allowed: 3 assets waiting since ")
    assert here.told.endswith("; if you trust it, add 127.0.0.1 to DARKROOM_DOWNLOAD_ALLOW and restart the workers")
    assert (here.count, there.count, here.fails) == (3, 1, True)
    assert there.told.startswith("host relay.test is not allowed: 1 asset waiting since ")
    generations = ledger.generations.get(ids)
    assert {one.state for one in generations} == {State.SUCCEEDED}
    assert [wait_of(one, [here, there]) for one in generations] == [here, here, here, there]


def test_the_doctor_has_one_finding_for_all_of_a_host(darkroom: Darkroom, ledger: Ledger) -> None:
    forbidden(ledger, "127.0.0.1", "127.0.0.1")
    checks = json.loads(darkroom("doctor", "--json").stdout)["checks"]
    (found,) = [one for one in checks if one["check"] == "downloads"]
    assert found["verdict"] == "fail"
    assert found["numbers"] == {"waiting": 2}
    assert "host 127.0.0.1 is not allowed: 2 assets waiting since " in found["message"]


@pytest.mark.usefixtures("darkroom")
def test_a_download_that_fails_once_is_nobodys_business(ledger: Ledger) -> None:
    forbidden(ledger, "cdn.test", error="HTTP 404")
    assert waits(ledger) == []


def test_what_fails_again_and_again_is_one_cause_whatever_varies_in_its_words(
    darkroom: Darkroom, ledger: Ledger
) -> None:
    now = ledger.database.clock()
    ids = forbidden(ledger, "cdn.test", "cdn.test", error="no answer in 60.1 s")
    for hours in (1, 2):
        ledger.database.clock = lambda hours=hours: now + timedelta(hours=hours)
        claims = ledger.assets.claim(10, stories.MINUTE)
        for number, claim in enumerate(claims):
            error = f"{claim.assets[0].url}: no answer in {60 + number}.{hours} s"
            ledger.assets.record([Archived(claim, (Postponed(index=0, error=error),), described=False)])
    (wait,) = waits(ledger)
    assert (wait.count, wait.fails) == (2, False)
    assert re.match(
        r"host cdn\.test: 2 assets waiting since [-0-9: ]+: no answer in 6[01]\.2 s; retried automatically", wait.told
    )
    assert "`darkroom show gen_" in wait.remedy
    ledger.database.clock = lambda: now
    ledger.maintenance.beat("worker@here", 1)
    for generation_id in ids:
        shown = darkroom("show", generation_id).stdout
        assert "retried automatically" in " ".join(shown.split())
        assert "darkroom show" not in shown, "who looks at a generation is not sent to look at one"


@pytest.mark.usefixtures("darkroom")
def test_workers_and_a_clock_that_are_silent_are_told_since_when(ledger: Ledger) -> None:
    now = ledger.database.clock()
    (queued,) = stories.queued(ledger)
    (wait,) = waits_of(ledger, Settings())
    assert (wait.cause, wait.since) == (Cause.WORKERS, None)
    assert wait_of(queued, [wait]) is wait
    ledger.database.clock = lambda: now - timedelta(minutes=10)
    ledger.maintenance.beat("worker@here", 1)
    ledger.maintenance.beat("clock@here", 2)
    ledger.database.clock = lambda: now
    (wait,) = waits_of(ledger, Settings())
    assert (wait.cause, wait.since) == (Cause.WORKERS, now - timedelta(minutes=10))
    assert "no worker is running (the last one was seen at " in wait.told
    ledger.maintenance.beat("clock@here", 2)
    (wait,) = waits_of(ledger, Settings())
    assert "only clock@here, so nothing is submitted" in wait.told
    ledger.database.clock = lambda: now - timedelta(minutes=10)
    ledger.maintenance.beat("clock@here", 2)
    ledger.database.clock = lambda: now
    (wait,) = waits(ledger)
    assert (wait.cause, wait.remedy) == (Cause.CLOCK, "start the Procfile's `clock`")
    assert wait_of(queued, [wait]) is None


@pytest.mark.usefixtures("darkroom")
def test_a_closed_restore_gate_is_told_first(ledger: Ledger) -> None:
    now = ledger.database.clock()
    ledger.restore.verify_marker(None)
    ledger.database.clock = lambda: now + timedelta(hours=1)
    ledger.restore.marker_unreachable()
    (queued,) = stories.queued(ledger)
    found = wait_of(queued, waits_of(ledger, Settings()))
    assert found is not None
    assert found.cause is Cause.RESTORE_GUARD
    assert found.since == now + timedelta(hours=1)
    assert "`darkroom reconcile`" in found.told
