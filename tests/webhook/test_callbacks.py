import gzip
import logging
import time
from collections.abc import Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from shutil import copy

import pytest
from flask import Flask
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import TestResponse

from tests.clock import NOON, FakeClock
from tests.examples import examples
from tests.factories import at_once
from tests.postgres import Postgres, read_only
from tests.webhook.conftest import receiver
from tests.webhook.receiving import deliver, new_attempt, path_of, rows, until
from webhook.callbacks import LARGEST_BODY
from worker.ledger import Ledger
from worker.ledger.outcome.callbacks import MOST_BODIES
from worker.secrets.redaction import RedactingFormatter

pytestmark = pytest.mark.matrix

UNREACHABLE = ["sqlite:////nowhere/ledger.sqlite3", "postgresql://darkroom@127.0.0.1:1/darkroom"]


def test_an_authentic_callback_is_kept_as_it_came(app: Flask, ledger: Ledger) -> None:
    attempt = new_attempt()

    answer = deliver(app, path_of(attempt), b'{"a": 1}', Content_Type="application/json", User_Agent="Ace/1")

    assert (answer.status_code, answer.data) == (200, b"")
    (row,) = rows(ledger)
    assert (row.attempt_id, row.provider, row.body, row.received_at) == (attempt, "acedata", b'{"a": 1}', NOON)
    assert row.remote_address == "127.0.0.1"
    assert row.headers == {"Content-Type": "application/json", "User-Agent": "Ace/1"}
    assert row.applied_at is None


def test_the_same_body_ten_times_at_once_is_one_row(app: Flask, ledger: Ledger) -> None:
    path = path_of(new_attempt())

    answers = at_once(*[partial(deliver, app, path)] * 10)

    assert [answer.status_code for answer in answers] == [200] * 10
    assert len(rows(ledger)) == 1


def test_two_bodies_for_one_attempt_are_two_rows(app: Flask, ledger: Ledger) -> None:
    path = path_of(new_attempt())
    deliver(app, path, b"progress")
    deliver(app, path, b"success")
    assert [row.body for row in rows(ledger)] == [b"progress", b"success"]


def test_what_is_too_much_for_one_attempt_is_answered_and_not_kept(app: Flask, ledger: Ledger) -> None:
    path = path_of(new_attempt())
    answers = [deliver(app, path, f"progress {number}".encode()) for number in range(MOST_BODIES + 5)]
    assert {answer.status_code for answer in answers} == {200}
    assert len(rows(ledger)) == MOST_BODIES


def test_sixteen_deliveries_at_once_are_all_kept(app: Flask, ledger: Ledger) -> None:
    attempts = [new_attempt() for _ in range(16)]

    answers = at_once(*[partial(deliver, app, path_of(attempt)) for attempt in attempts])

    assert [answer.status_code for answer in answers] == [200] * 16
    assert {row.attempt_id for row in rows(ledger)} == set(attempts)


def test_a_kept_callback_rings_for_ingest(app: Flask, bells: list[str]) -> None:
    deliver(app, path_of(new_attempt()))
    until(lambda: bells)
    assert bells == ["ingest"]


# --- who is turned away ---


def forged(path: str) -> str:
    return path[:-1] + ("A" if path[-1] != "A" else "B")


@pytest.mark.parametrize(
    "path",
    [
        forged(path_of("ab" * 16)),
        path_of("ab" * 16) + "A",
        path_of("ab" * 16) + "/",
        path_of("ab" * 16).replace("ab" * 16, "cd" * 16),
        path_of("ab" * 16).replace("acedata", "kie"),
        path_of("ab" * 16, "Nobody Else"),
        path_of("ab" * 16).replace("k1.", "k2."),
        path_of("ab" * 16).replace("k1.", ""),
        path_of("ab" * 8),
        path_of("AB" * 16),
        f"/callbacks/acedata/{'ab' * 16}/k1.{'é' * 43}",
        f"/callbacks/acedata/{'ab' * 16}/k1.{'%ff' * 43}",
        f"/callbacks/acedata/{'ab' * 16}/k1.%00",
        f"/callbacks/acedata/{'ab' * 16}/",
        f"/callbacks/acedata/{'ab' * 16}",
        "/callbacks/",
        "/callbacks",
    ],
)
def test_a_path_that_proves_nothing_is_404_with_an_empty_body_and_stores_nothing(
    app: Flask, ledger: Ledger, path: str
) -> None:
    answer = deliver(app, path)
    assert (answer.status_code, answer.data) == (404, b"")
    assert rows(ledger) == []


def test_a_signed_callback_of_a_provider_that_nobody_knows_is_kept_for_a_person(app: Flask, ledger: Ledger) -> None:
    assert deliver(app, path_of("ab" * 16, "newcomer")).status_code == 200
    assert [row.provider for row in rows(ledger)] == ["newcomer"]


def post_stream(app: Flask, path: str, body: BytesIO, *, length: int) -> TestResponse:
    """Send a body with a Content-Length that need not be true."""
    return app.test_client().post(path, input_stream=body, environ_overrides={"CONTENT_LENGTH": str(length)})


class Unreadable(BytesIO):
    def read(self, *_: object) -> bytes:
        raise AssertionError("the body was read")


def test_the_body_of_a_forged_callback_is_not_read(app: Flask) -> None:
    answer = post_stream(app, forged(path_of(new_attempt())), Unreadable(), length=10)
    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_only_post_is_allowed(app: Flask, ledger: Ledger, method: str) -> None:
    answer = app.test_client().open(path_of(new_attempt()), method=method)
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST"
    assert rows(ledger) == []


# --- size ---


@pytest.mark.parametrize("path", ["/x" + "/" * 400, "/callbacks/" + "/x" * 20_000, "/readyz/" + "x" * 400])
def test_a_long_path_is_refused_before_anybody_looks_at_it(
    app: Flask, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def look(*_: object) -> None:
        raise AssertionError("somebody looked")

    monkeypatch.setattr(DispatcherMiddleware, "__call__", look)
    assert deliver(app, path).status_code == 414


def test_the_largest_body_is_kept(app: Flask, ledger: Ledger) -> None:
    assert deliver(app, path_of(new_attempt()), b"x" * LARGEST_BODY).status_code == 200
    assert len(rows(ledger)[0].body) == LARGEST_BODY


def test_of_a_body_that_says_it_is_too_large_one_mebibyte_is_read_and_nothing_kept(app: Flask, ledger: Ledger) -> None:
    body = BytesIO(b"x" * 3 * 1024 * 1024)
    answer = post_stream(app, path_of(new_attempt()), body, length=body.getbuffer().nbytes)
    assert (answer.status_code, answer.mimetype) == (413, "application/problem+json")
    assert body.tell() == 1024 * 1024
    assert rows(ledger) == []


def test_who_asks_first_whether_a_body_is_not_too_large_need_not_send_it(app: Flask) -> None:
    length = {"CONTENT_LENGTH": str(LARGEST_BODY + 1), "HTTP_EXPECT": "100-continue"}
    answer = app.test_client().post(path_of(new_attempt()), input_stream=Unreadable(), environ_overrides=length)
    assert answer.status_code == 413


def test_a_body_in_chunks_is_counted(app: Flask, ledger: Ledger) -> None:
    for size, status in ((LARGEST_BODY, 200), (LARGEST_BODY + 1, 413)):
        assert post_chunks(app, b'{"a": 1}'.ljust(size)).status_code == status
    assert len(rows(ledger)) == 1


def gzipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)  # the same in each process that runs tests, for their names


JSON = b'{"task_id": "t1", "data": {"urls": ["https://cdn.example/1.png"]}}'
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (JSON, {}, 200),
        (gzipped(JSON), {"Content-Encoding": "gzip"}, 200),
        (gzipped(b"task_id=t1"), {"Content-Type": FORM}, 200),
        (JSON[:-1], {}, 400),
        (b"", {}, 400),
        (gzipped(JSON)[:-1], {"Content-Encoding": "gzip"}, 400),
        # Nothing shows where it should have ended.
        (b"task_id=t1", {"Content-Type": FORM}, 400),
    ],
)
def test_of_a_body_in_chunks_only_what_is_surely_whole_is_kept(
    app: Flask, ledger: Ledger, body: bytes, headers: dict[str, str], status: int
) -> None:
    """The server gives what came before a chunk that breaks, as if it were all."""
    assert post_chunks(app, body, headers).status_code == status
    assert [row.body for row in rows(ledger)] == ([body] if status == 200 else [])


def post_chunks(app: Flask, body: bytes, headers: Mapping[str, str] | None = None) -> TestResponse:
    chunked = {"Transfer-Encoding": "chunked", **(headers or {})}
    return app.test_client().post(path_of(new_attempt()), input_stream=BytesIO(body), headers=chunked)


def test_a_body_that_breaks_off_is_not_kept(app: Flask, ledger: Ledger) -> None:
    answer = post_stream(app, path_of(new_attempt()), BytesIO(b'{"a'), length=100)
    assert answer.status_code == 400
    assert rows(ledger) == []


# --- bytes ---


@given(body=st.binary(max_size=2000) | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(body=b"")
@example(body=b'{"a": "\\u0000\\ud800"}')
@example(body=b"\x00\xff\xfe")
@example(body="\ufeff{}".encode())
@example(body='{"prompt": "ü"}'.encode("utf-16"))
@example(body="\ud800".encode("utf-8", "surrogatepass"))
@example(body=b"[" * 100_000 + b"]" * 100_000)
@settings(max_examples=examples(60))
def test_whatever_the_bytes_they_are_kept_one_for_one(app: Flask, ledger: Ledger, body: bytes) -> None:
    attempt = new_attempt()
    assert deliver(app, path_of(attempt), body).status_code == 200
    assert rows(ledger)[-1].body == body


# --- headers ---


def test_headers_that_may_be_secrets_are_not_kept(app: Flask, ledger: Ledger) -> None:
    secret = {"Authorization": "Bearer s", "Cookie": "s=1", "X_Webhook_Secret": "s", "X_Api_Key": "s"}
    deliver(app, path_of(new_attempt()), X_Webhook_Signature="sig", X_Webhook_Timestamp="1700000000", **secret)
    kept = rows(ledger)[0].headers
    assert kept == {"X-Webhook-Signature": "sig", "X-Webhook-Timestamp": "1700000000"} | {
        "User-Agent": kept["User-Agent"]
    }


def test_long_headers_are_cut_and_odd_characters_survive(app: Flask, ledger: Ledger) -> None:
    answer = deliver(app, path_of(new_attempt()), User_Agent="é\x7f" + "x" * 10_000)
    assert answer.status_code == 200
    assert rows(ledger)[0].headers["User-Agent"] == ("é\x7f" + "x" * 10_000)[:500]


# --- when the ledger is away ---


@pytest.mark.parametrize("url", UNREACHABLE)
def test_without_the_ledger_a_callback_is_503_and_may_come_again(bells: list[str], clock: FakeClock, url: str) -> None:
    ledger = Ledger(url)
    answer = deliver(receiver(ledger, clock), path_of(new_attempt()))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json == {"title": "Service Unavailable", "status": 503}
    time.sleep(0.05)
    assert bells == []
    ledger.close()


def test_when_the_ledger_is_back_the_same_receiver_keeps_callbacks(
    tmp_path: Path, migrated_file: Path, bells: list[str], clock: FakeClock
) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'late' / 'ledger.sqlite3'}")
    app = receiver(ledger, clock)
    path = path_of(new_attempt())
    assert deliver(app, path).status_code == 503

    (tmp_path / "late").mkdir()
    copy(migrated_file, tmp_path / "late" / "ledger.sqlite3")

    assert deliver(app, path).status_code == 200
    assert len(rows(ledger)) == 1
    ledger.close()


def test_without_tables_a_callback_is_503(blank_database_url: str, bells: list[str], clock: FakeClock) -> None:
    ledger = Ledger(blank_database_url)
    answer = deliver(receiver(ledger, clock), path_of(new_attempt()))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    ledger.close()


#: of a row alone, of a right, of a server that became a standby, of a server in trouble, and of a trigger
@pytest.mark.parametrize("state", ["22P02", "23514", "42501", "25006", "XX000", "0A000", "P0001", "54000"])
def test_whatever_the_database_says_a_callback_is_503(
    postgres: Postgres, migrated_database: str, postgresql_url: str, bells: list[str], clock: FakeClock, state: str
) -> None:
    raised = f"CREATE FUNCTION odd() RETURNS trigger AS $$BEGIN RAISE 'odd' USING ERRCODE = '{state}'; END$$"
    trigger = "CREATE TRIGGER odd BEFORE INSERT ON callbacks EXECUTE FUNCTION odd()"
    ledger = Ledger(postgresql_url, clock)
    app, path = receiver(ledger, clock), path_of(new_attempt())
    postgres.execute(f"{raised} LANGUAGE plpgsql; {trigger}", migrated_database)
    try:
        answer = deliver(app, path)
    finally:
        postgres.execute("DROP FUNCTION odd CASCADE", migrated_database)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert deliver(app, path).status_code == 200
    ledger.close()


def test_a_server_that_is_read_only_for_a_while_gives_503_and_then_the_same_receiver_keeps_callbacks(
    postgres: Postgres, migrated_database: str, postgresql_url: str, bells: list[str], clock: FakeClock
) -> None:
    """As one that lost its rank in a fail-over: the connections that are open stay read-only."""
    ledger = Ledger(postgresql_url, clock)
    app, path = receiver(ledger, clock), path_of(new_attempt())
    with read_only(postgres, migrated_database):
        answer = deliver(app, path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert deliver(app, path).status_code == 200
    ledger.close()


def test_an_unexpected_error_is_a_503_that_tells_nothing_and_a_log_line_without_the_token(
    app: Flask, ledger: Ledger, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = path_of(new_attempt())

    def store(_: object) -> None:
        raise RuntimeError(f"broken at https://darkroom.example{path}")

    monkeypatch.setattr(ledger.callbacks, "store", store)
    with caplog.at_level(logging.ERROR):
        answer = deliver(receiver(ledger, FakeClock()), path)

    assert (answer.status_code, answer.json) == (503, {"title": "Service Unavailable", "status": 503})
    (record,) = caplog.records
    line = RedactingFormatter().format(record)
    assert "RuntimeError: broken at" in line
    assert "Traceback" in line
    assert path.rpartition("/")[2] not in line
