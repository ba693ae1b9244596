"""`darkroom doctor` and `darkroom db`: is everything there, and what to do where it is not."""

import json
import os
import re
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tasks.usecases.doctor import Finding, Verdict
from tasks.usecases.doctor.parallel import Check, run
from tests.computer import DARKROOM
from tests.next_version import NEXT, upgrade_by_next_version
from tests.patience import patient
from tests.serving import HttpServer, at_work
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from tests.worker.providers.loopback import Loopback, drip_header
from webhook import sandbox
from worker.embedded.data_folder import LOCK, kept_secrets, sole_use
from worker.errors import AccountBlocked, ConfigurationError, NotTaken, Uncertain
from worker.ledger import Ledger
from worker.ledger.database import REVISION, system_clock
from worker.ledger.database.server_clock import ServerClock
from worker.ledger.events import DeliveryFilter, Handed
from worker.ledger.maintenance import STOPPED
from worker.settings import ENV_FILE_READ
from worker.subscribers.subscribers import webhooks

KEYS = "k1:0123456789abcdef0123456789abcdef"


@contextmanager
def receiver(status: int, location: str | None = None) -> Iterator[str]:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/elsewhere" else status)
            if location is not None and self.path != "/elsewhere":
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with at_work(HttpServer(("127.0.0.1", 0), Answer)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def findings(darkroom: Darkroom) -> dict[str, tuple[str, str]]:
    document = json.loads(darkroom("doctor", "--json").stdout)
    return {one["check"]: (one["verdict"], one["message"]) for one in document["checks"]}


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hunter2hunter2@127.0.0.1:1/0")


def test_a_machine_at_rest_is_told_what_is_missing(darkroom: Darkroom) -> None:
    found = findings(darkroom)
    assert found["settings"] == ("ok", "valid")
    assert found["ledger"] == ("ok", "SQLite, its tables are up to date")
    assert found["broker"][0] == "fail"
    assert "start `darkroom up`" in found["broker"][1]
    assert found["bucket"] == (
        "fail",
        "S3_BUCKET is not set: name the bucket for the assets, or start `darkroom up`, which includes one",
    )
    assert not {"signing keys", "public URL"} & found.keys(), "nothing is said of what is not set"
    assert found["provider acedata"] == ("ok", "key set")
    assert found["workers"][0] == "fail"


def test_one_failure_is_exit_code_1_and_no_secret_is_told(darkroom: Darkroom) -> None:
    result = darkroom("doctor")
    assert result.exit_code == 1
    assert "fail  broker" in result.stdout
    assert "hunter2" not in result.output


def test_what_up_has_started_lately_need_not_have_said_anything_yet(darkroom: Darkroom, tmp_path: Path) -> None:
    with sole_use(tmp_path):
        verdict, message = findings(darkroom)["workers"]
        assert verdict == "warn"
        assert re.fullmatch(r"started \d+\.\d s ago, waiting for the first heartbeat", message)
        os.utime(tmp_path / LOCK, (1, 1))
        assert findings(darkroom)["workers"][0] == "fail"


def test_what_has_ended_is_said_to_be_stopped(
    darkroom: Darkroom, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL")
    kept_secrets(tmp_path)
    monkeypatch.setenv("PUBLIC_URL", "http://127.0.0.1:1")
    ledger.maintenance.beat("worker.7@here", 7)
    ledger.maintenance.beat("worker.7@here", STOPPED)
    found = findings(darkroom)
    assert found["broker"] == ("fail", f"stopped, like everything that ran in {tmp_path}: start `darkroom up`")
    assert found["bucket"] == ("fail", f"stopped; its files are in {tmp_path / 's3'}")
    assert "public URL" not in found, "the receiver was a part of it"
    assert found["workers"][0] == "fail"
    assert re.match(
        r"no worker is running \(the last one stopped at \d\d:\d\d\): start `darkroom up`", found["workers"][1]
    )


def test_a_provider_that_never_answers_holds_up_nothing(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.usecases.doctor.accounts._CREDIT_TIMEOUT", 0.5)
    with Loopback(until_it_stops) as frozen:
        monkeypatch.setenv("KIE_API_KEY", "any")
        monkeypatch.setenv("KIE_BASE_URL", frozen.url)
        found = findings(darkroom)
        assert not frozen.stopping.is_set()
    assert found["provider kie"] == ("warn", "no answer within 0.5 s")
    assert list(found)[-1] == "workers"


@pytest.mark.processes
def test_the_process_ends_while_a_provider_still_does_not_answer(darkroom: Darkroom, tmp_path: Path) -> None:
    """A thread that waits for the provider must not hold up the end; bench row P8 has the time of the whole."""
    with Loopback(until_it_stops) as frozen:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DARKROOM_DATA": str(tmp_path)}
        env |= {"KIE_API_KEY": "any", "KIE_BASE_URL": frozen.url, "REDIS_URL": "redis://127.0.0.1:1/0"}
        command = [DARKROOM, "doctor"]
        # Less than the 30 s after which the thread would stop waiting by itself.
        ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=patient(25))
        assert frozen.connections == 1
    assert ended.returncode == 1
    assert re.search(r"warn +provider kie +no answer within 3\.5 s", ended.stdout)


def until_it_stops(server: Loopback, connection: socket.socket) -> None:
    server.read_request(connection)
    server.stopping.wait(patient(120))


def test_each_finding_is_told_as_soon_as_it_is_there_and_reported_in_its_order() -> None:
    told: list[str] = []
    is_told = threading.Event()

    def tell(finding: Finding) -> None:
        told.append(finding.check)
        is_told.set()

    def last() -> Iterator[Finding]:
        assert is_told.wait(patient(10))
        yield Finding("first", Verdict.OK, "")

    def failing() -> Iterator[Finding]:
        yield Finding("second", Verdict.WARN, "")
        raise ConfigurationError("broken")

    found = run([Check("first", last), Check("second", failing)], tell)
    assert told == ["second", "second", "first"]
    assert [(one.check, one.verdict, one.message) for one in found] == [
        ("first", "ok", ""),
        ("second", "warn", ""),
        ("second", "fail", "broken"),
    ]


def test_a_check_that_is_broken_is_no_finding() -> None:
    def broken() -> Iterator[Finding]:
        raise ZeroDivisionError
        yield

    with pytest.raises(ZeroDivisionError):
        run([Check("broken", broken)], lambda _: None)


def test_settings_that_are_none_and_a_file_that_others_can_read_are_warnings(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ENV_FILE_READ)
    (tmp_path / ".env").write_text("KIE_RATES=5\nKIE_API_KEY=any-key-of-mine\nKIE_BASE_URL=http://127.0.0.1:1\n")
    (tmp_path / ".env").chmod(0o644)
    document = json.loads(darkroom("doctor", "--json").stdout)
    told = [(one["verdict"], one["message"]) for one in document["checks"] if one["check"] == "settings"]
    assert told == [
        ("warn", "KIE_RATES is not a setting; did you mean KIE_RATE?"),
        ("warn", f"other users can read {tmp_path}/.env, which may hold keys: run `chmod 600 {tmp_path}/.env`"),
    ]
    assert any(one["check"] == "provider kie" and "balance" in one["message"] for one in document["checks"])
    assert "any-key-of-mine" not in json.dumps(document)


def test_wrong_settings_are_the_only_finding(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBLIC_URL", "example.com")
    assert list(findings(darkroom)) == ["settings"]


def test_a_missing_ledger_is_told_and_not_made(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path / "nothing"))
    assert findings(darkroom)["ledger"][0] == "fail"
    assert not (tmp_path / "nothing").exists()


def test_tables_of_another_version_are_told(darkroom: Darkroom) -> None:
    with sqlite3.connect(darkroom.data / "ledger.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    verdict, message = findings(darkroom)["ledger"]
    assert verdict == "fail"
    assert "revision 0000" in message


def test_workers_that_are_set_to_different_rates_are_told(darkroom: Darkroom, ledger: Ledger) -> None:
    ledger.maintenance.beat("worker@a", 1, {"KIE_RATE": 1.8, "KIE_IN_FLIGHT": 100})
    ledger.maintenance.beat("worker@b", 1, {"KIE_RATE": 5, "KIE_IN_FLIGHT": 100})
    document = json.loads(darkroom("doctor", "--json").stdout)
    found = [one for one in document["checks"] if one["check"] == "workers"]
    assert [one["verdict"] for one in found] == ["warn", "ok"]
    assert found[0]["message"].startswith("KIE_RATE is 1.8 for worker@a, 5 for worker@b: set the same value for all")


def test_a_ledger_that_is_newer_and_compatible_is_told(
    darkroom: Darkroom, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    upgrade_by_next_version(ledger, tmp_path_factory.mktemp("next"), REVISION)
    verdict, message = findings(darkroom)["ledger"]
    assert (verdict, f"revision {NEXT}, newer than this version's {REVISION}" in message) == ("warn", True)


def test_a_version_that_is_too_old_for_the_ledger_is_told_and_no_command_writes_with_it(
    darkroom: Darkroom, ledger: Ledger, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger.maintenance.beat("worker@old", 1)
    upgrade_by_next_version(ledger, tmp_path_factory.mktemp("next"), NEXT)
    sentence = f"this version of Darkroom is too old for its ledger (it has revision {REVISION}, and {NEXT} or newer"
    found = findings(darkroom)
    assert (found["ledger"][0], found["ledger"][1][: len(sentence)]) == ("fail", sentence)
    assert found["workers"][0] == "fail"
    assert "worker@old running a version that is too old for the ledger" in found["workers"][1]
    for command in (["submit", "a fox"], ["db", "upgrade"], ["resume", "acedata"]):
        result = darkroom(*command)
        assert (result.exit_code, result.stderr.startswith(f"darkroom: {sentence}")) == (1, True), result.stderr
    assert darkroom("list").exit_code == 0


def test_a_missing_provider_key_is_named(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACEDATACLOUD_API_TOKEN")
    verdict, message = findings(darkroom)["provider acedata"]
    assert verdict == "fail"
    assert "ACEDATACLOUD_API_TOKEN is not set" in message
    assert message.endswith("one provider is enough")


@pytest.mark.parametrize(
    ("key", "verdict", "words"),
    [
        ("any", "ok", "key set, "),
        ("invalid", "fail", "refuses this key: correct KIE_API_KEY, and restart the workers ("),
    ],
)
def test_the_credit_is_told_where_it_can_be_asked(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch, key: str, verdict: str, words: str
) -> None:
    with sandbox.running() as vendor:
        monkeypatch.setenv("KIE_API_KEY", key)
        monkeypatch.setenv("KIE_BASE_URL", vendor.url)
        found = findings(darkroom)
    told, message = found["provider kie"]
    assert told == verdict
    assert message.startswith(words)
    verdict, message = found["notices"]
    assert verdict == "warn"
    assert message.startswith("kie: its Midjourney pages have moved to Kie's old documentation (old-docs.kie.ai)")


def test_a_provider_that_nobody_set_up_is_no_failure_beside_another(darkroom: Darkroom) -> None:
    found = findings(darkroom)
    assert "notices" not in found
    assert found["provider mjproxy"] == ("ok", "not used: MJPROXY_BASE_URL is not set")


@pytest.mark.parametrize(
    ("name", "value", "check", "sentence"),
    [
        ("KIE_API_KEY", "two words", "provider kie", "KIE_API_KEY contains a space or an invalid character"),
        ("MJPROXY_API_SECRET", "any", "provider mjproxy", "MJPROXY_API_SECRET is set, but MJPROXY_BASE_URL is not"),
    ],
)
def test_a_provider_that_is_set_up_wrongly_is_a_failure_beside_another(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)
    verdict, message = findings(darkroom)[check]
    assert verdict == "fail"
    assert message.startswith(sentence)


def test_a_worker_that_was_heard_lately_is_at_work(darkroom: Darkroom, ledger: Ledger) -> None:
    ledger.maintenance.beat("worker@here", 1)
    assert findings(darkroom)["workers"] == ("ok", "1 worker")


def test_a_clock_alone_is_no_worker(darkroom: Darkroom, ledger: Ledger) -> None:
    ledger.maintenance.beat("clock@here", 1)
    verdict, message = findings(darkroom)["workers"]
    assert verdict == "fail"
    assert "no worker is running, only clock@here, so nothing is submitted or archived" in message
    ledger.maintenance.beat("worker@here", 1)
    assert findings(darkroom)["workers"] == ("ok", "1 worker, 1 clock")


def test_a_worker_that_fell_silent_is_told(darkroom: Darkroom, ledger: Ledger) -> None:
    now = ledger.database.clock()
    ledger.database.clock = lambda: now - timedelta(minutes=10)
    ledger.maintenance.beat("worker@here", 1)
    document = json.loads(darkroom("doctor", "--json").stdout)
    told = [one for one in document["checks"] if one["check"] == "workers"]
    assert [one["verdict"] for one in told] == ["warn", "fail"]
    assert "worker@here has been silent for 10 min: restart it, unless you stopped it" in told[0]["message"]


def test_what_a_person_must_look_at_is_counted(darkroom: Darkroom, ledger: Ledger) -> None:
    now = ledger.database.clock()
    ledger.database.clock = lambda: now - timedelta(hours=3)
    overdue = stories.submitted(ledger, "task-1")
    ledger.database.clock = lambda: now
    stories.submitted(ledger, "task-2")
    stories.unconfirmed(ledger)
    stories.answered(ledger, AccountBlocked("the balance is used up", code="used_up", status=403))
    found = findings(darkroom)
    assert found["overdue"][0] == "warn"
    assert f"1 submitted more than 1.0 h ago without a result, such as {overdue}" in found["overdue"][1]
    assert found["unconfirmed"][0] == "warn"
    assert "darkroom resume acedata" in found["pauses"][1]


@pytest.mark.parametrize(
    ("status", "location", "verdict", "words"),
    [
        (200, None, "warn", "is a private address"),
        (503, None, "fail", "answers with status 503"),
        (302, "/elsewhere", "fail", "a redirected callback loses its body"),
    ],
)
def test_the_public_url_is_tried(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch, status: int, location: str | None, verdict: str, words: str
) -> None:
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", KEYS)
    with receiver(status, location) as url:
        monkeypatch.setenv("PUBLIC_URL", url)
        told, message = findings(darkroom)["public URL"]
    assert told == verdict
    assert words in message


def test_a_public_url_where_nobody_listens_is_told(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", KEYS)
    monkeypatch.setenv("PUBLIC_URL", "http://127.0.0.1:1")
    verdict, message = findings(darkroom)["public URL"]
    assert verdict == "fail"
    assert "http://127.0.0.1:1/livez cannot be reached from here" in message


def test_a_public_url_that_drips_its_answer_is_given_up(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.usecases.doctor.checks._PATIENCE", 0.2)
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", KEYS)
    with Loopback(drip_header) as server:
        monkeypatch.setenv("PUBLIC_URL", server.url)
        verdict, message = findings(darkroom)["public URL"]
    assert verdict == "fail"
    assert "cannot be reached from here: the time limit was exceeded" in message


def test_signing_keys_that_are_too_short_are_told(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_SIGNING_KEYS", "k1:short")
    assert findings(darkroom)["signing keys"][0] == "fail"


def broker_that_says(monkeypatch: pytest.MonkeyPatch, version: str, policy: str) -> None:
    answers: dict[str, dict[str, Any]] = {
        "server": {"redis_version": version},
        "memory": {"maxmemory_policy": policy},
    }
    monkeypatch.setattr("redis.Redis.info", lambda _, section: answers[section])


@pytest.mark.parametrize(
    ("version", "policy", "verdict", "words"),
    [
        ("7.2.4", "noeviction", "ok", "Redis 7.2.4"),
        ("6.0.16", "noeviction", "fail", "Redis 6.0.16 is too old"),
        ("8.0.0", "allkeys-lru", "warn", "maxmemory-policy is allkeys-lru"),
    ],
)
def test_the_broker_is_examined(
    darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch, version: str, policy: str, verdict: str, words: str
) -> None:
    broker_that_says(monkeypatch, version, policy)
    told, message = findings(darkroom)["broker"]
    assert told == verdict
    assert words in message


def test_a_redis_url_that_is_none_is_told(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "amqp://guest:hunter2hunter2@localhost")
    ((told, message),) = findings(darkroom).values()
    assert told == "fail"
    assert message.startswith("REDIS_URL: amqp:// is not supported: the broker is Redis or Valkey")
    assert "hunter2" not in message


def test_the_tables_are_made_and_a_second_time_changes_nothing(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path / "new" / "folder"))
    first = json.loads(darkroom("db", "upgrade", "--json").stdout)
    assert first["before"] is None
    assert darkroom("db", "upgrade").stdout == f"the ledger is already at revision {first['after']}\n"
    assert darkroom("list").exit_code == 0


def test_a_data_folder_that_cannot_be_made_is_told(
    darkroom: Darkroom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path / "file" / "data"))
    result = darkroom("db", "upgrade")
    assert result.exit_code == 1
    assert "set DARKROOM_DATA to a writable folder" in result.stderr


def test_each_account_that_is_held_back_is_one_line_that_says_why_and_how_to_go_on(
    darkroom: Darkroom, ledger: Ledger
) -> None:
    # An hour and a minute ahead, so that it does not matter how long this takes.
    later = ledger.database.clock() + timedelta(minutes=61)
    ledger.database.clock = lambda: later
    for _ in range(5):
        stories.answered(ledger, Uncertain("no clear answer", code="http_500", status=500))
    verdict, message = findings(darkroom)["pauses"]
    assert verdict == "warn"
    assert re.fullmatch(
        r"acedata: circuit open since [-0-9: ]+ until [-0-9: ]+ after 5 failures in a row; "
        "it is retried automatically; `darkroom resume acedata` retries now",
        message,
    )
    ledger.dispatch.resume_account("acedata")
    stories.answered(ledger, NotTaken("slower", code="busy", status=429))
    _, message = findings(darkroom)["pauses"]
    assert re.fullmatch(
        r"acedata: paused since [-0-9: ]+ until [-0-9: ]+: slower \(code busy, HTTP 429\); "
        "slowed down to 50 % of its rate after too many requests; "
        "it is retried automatically; `darkroom resume acedata` retries now",
        message,
    )


def test_an_account_without_its_key_is_told_with_what_it_holds(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories.submitted(ledger, "task-1")
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "studio:some-key,shop:other-key")
    found = findings(darkroom)
    assert found["provider acedata, account studio"][1].startswith("key set")
    assert found["provider acedata, account shop"][1].startswith("key set")
    advice = "add it to ACEDATACLOUD_API_TOKEN as `default:KEY`"
    message = f"acedata has no key for account default, which has open generations (1 in progress): {advice}"
    assert found["accounts"] == ("warn", message)


def test_a_subscriber_that_is_down_is_told_long_before_its_events_are_given_up(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    (webhook,) = webhooks("https://hooks.example.com/some-secret-path?token=abcdefabcdefabcdef")
    monkeypatch.setenv("DARKROOM_NOTIFY_EVENTS", "generation.*")
    # An hour ahead, so that it does not matter how long this takes.
    now = ledger.database.clock()
    ledger.database.clock = lambda: now + timedelta(hours=1)
    ledger.events.register_subscribers([webhook.name, "billing.on_event"])
    stories.submitted(ledger)
    assert "subscribers" not in findings(darkroom)
    (claim,) = ledger.events.claim([webhook.name], 1, stories.MINUTE)
    ledger.events.enqueue_new(claim, DeliveryFilter())
    delivery = ledger.events.record_and_claim_next(claim, stories.MINUTE)
    assert delivery is not None
    ledger.events.record_and_claim_next(claim, stories.MINUTE, Handed(delivery, "HTTP 503"))
    stories.submitted(ledger, "task-2")
    verdict, message = findings(darkroom)["subscribers"]
    assert verdict == "warn"
    assert message == (
        f"2 events waiting for {webhook.name}, the oldest for 0.0 s; its last try failed: HTTP 503; the "
        "next is in 1.0 h; fix it soon: an event is abandoned after ten tries over 14 hours"
    )
    assert "some-secret-path" not in message


def test_a_machine_whose_clock_differs_is_told_by_how_much_and_from_whose(
    darkroom: Darkroom, postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", postgresql_url)
    assert "clocks" not in findings(darkroom)
    wrong = timedelta(minutes=10)
    monkeypatch.setitem(ServerClock.__init__.__kwdefaults__, "wall", lambda: system_clock() - wrong)
    monkeypatch.setattr("tasks.usecases.doctor.checks.broker_error", lambda: wrong)
    document = json.loads(darkroom("doctor", "--json").stdout)
    told = [one["message"] for one in document["checks"] if one["check"] == "clocks"]
    assert [message.partition(":")[0].replace("599", "600").replace("601", "600") for message in told] == [
        "this machine's clock is 600 s behind the database's",
        "this machine's clock is 600 s ahead of the broker's",
    ]


def test_a_worker_of_the_future_is_not_at_work(darkroom: Darkroom, ledger: Ledger) -> None:
    now = ledger.database.clock()
    ledger.database.clock = lambda: now + timedelta(minutes=10)
    ledger.maintenance.beat("worker@host", 7)
    assert findings(darkroom)["workers"][0] == "fail"


def test_it_says_which_proxy_holds_for_what(darkroom: Darkroom, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "proxy" not in findings(darkroom)
    monkeypatch.setenv("HTTPS_PROXY", "http://robot:hunter2hunter2@127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "hooks.test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("MJPROXY_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("DARKROOM_NOTIFY_URLS", "https://hooks.test/1")
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    verdict, message = findings(darkroom)["proxy"]
    assert verdict == "ok"
    through, directly, _ = message.split("; ", 2)
    assert through == "through 127.0.0.1:1 (HTTPS_PROXY): the API of acedata, results of acedata, results of mjproxy"
    assert directly.startswith("directly: the API of mjproxy, results of mjproxy, webhook hooks.test-")
    assert directly.endswith(", the archive")
    assert "hunter2" not in message


def test_it_resolves_the_hosts_of_results_and_names_what_would_be_refused_and_the_setting(
    darkroom: Darkroom, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "token")
    real, answers = socket.getaddrinfo, {"cdn.midjourney.com": "198.18.0.37", "cdn.acedata.cloud": "93.184.216.34"}

    def resolve(host: str, port: object, *more: object, **options: object) -> object:
        if host in answers:
            return real(answers[host], port, *more, **options)  # type: ignore[arg-type]
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    verdict, message = findings(darkroom)["result hosts"]
    assert verdict == "fail"
    assert "downloads would be refused from cdn.midjourney.com (198.18.0.37)" in message
    assert "DARKROOM_DOWNLOAD_ALLOW=198.18.0.0/15" in message
    monkeypatch.setenv("DARKROOM_DOWNLOAD_ALLOW", "198.18.0.0/15")
    assert findings(darkroom)["result hosts"][0] == "ok"
    answers.clear()
    assert findings(darkroom)["result hosts"][0] == "warn"
