"""Logs that tell: what moved, what a step has done, who was asked; as words for people or as JSON."""

import io
import json
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from tests.factories import claimed, new
from tests.pipeline import Start
from worker import telemetry
from worker.embedded import print_json_line
from worker.errors import ConfigurationError
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.changes import Changes
from worker.secrets.redaction import JsonFormatter, RedactingFormatter
from worker.settings import load_settings


class Lines(logging.StreamHandler[io.StringIO]):
    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(io.StringIO())
        self.setFormatter(formatter)

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def told(self, message: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in lines if line["message"].startswith(message)]


def listening(level: int, formatter: logging.Formatter) -> Iterator[Lines]:
    lines, before = Lines(formatter), telemetry.log.level
    telemetry.log.addHandler(lines)
    telemetry.log.setLevel(level)
    yield lines
    telemetry.log.setLevel(before)
    telemetry.log.removeHandler(lines)


@pytest.fixture
def at_debug() -> Iterator[Lines]:
    yield from listening(logging.DEBUG, JsonFormatter(("a-very-secret-token",)))


@pytest.fixture
def at_info() -> Iterator[Lines]:
    yield from listening(logging.INFO, JsonFormatter())


@pytest.fixture
def console() -> Iterator[Lines]:
    yield from listening(logging.DEBUG, RedactingFormatter(("a-very-secret-token",)))


def test_a_json_line_has_time_level_logger_message_and_what_is_bound(at_debug: Lines):
    telemetry.step("submit", 3, time.monotonic(), ok=2, failed=1, postponed=0)
    (line,) = at_debug.told()
    assert datetime.fromisoformat(line.pop("ts")).utcoffset().total_seconds() == 0
    assert line.pop("ms") >= 0
    assert line == {
        "level": "INFO",
        "logger": "worker.telemetry",
        "message": "step done",
        "step": "submit",
        "count": 3,
        "ok": 2,
        "failed": 1,
    }


def test_the_console_has_what_is_bound_at_the_end_of_the_line(console: Lines):
    telemetry.transition({"generation": "gen_1", "batch": None, "to": State.QUEUED, "reason": 'no "room" now'})
    assert console.text.endswith(
        r'DEBUG worker.telemetry: generation moved generation=gen_1 to=queued reason="no \"room\" now"' + "\n"
    )


def test_secrets_in_values_are_redacted_in_both_formats(at_debug: Lines, console: Lines):
    secret = {"reason": 'https://h/x?hm=S3CRET "quoted"', "nested": {"list": ["a-very-secret-token", 7, True, None]}}
    telemetry.transition(secret)
    try:
        int("Bearer S3CRET and a-very-secret-token")
    except ValueError:
        telemetry.log.exception("asked with %s", "password='S3CRET S3CRET'")
    for lines in (at_debug, console):
        assert "S3CRET" not in lines.text
        assert "a-very" not in lines.text
    moved, failed = at_debug.told()
    assert moved["nested"]["list"] == ["[redacted]", 7, True, None]
    assert moved["reason"].endswith('"quoted"')
    assert "in test_secrets" in failed["exception"]
    assert "Bearer [redacted] and [redacted]" in failed["exception"].splitlines()[-1]


def test_an_exception_comes_after_what_is_bound_on_the_console(console: Lines):
    try:
        int("why")
    except ValueError:
        telemetry.log.exception("failed", extra={"bound": {"step": "submit"}})
    first, *others = console.text.splitlines()
    assert first.endswith("failed step=submit")
    assert others[-1].startswith("ValueError: ")


def test_a_move_is_told_with_its_ids_when_it_is_committed(ledger: Ledger, at_debug: Lines):
    (claim,) = claimed(ledger)
    created, taken = at_debug.told("generation moved")
    generation = claim.generation
    assert (created["generation"], created["to"], created["provider"]) == (generation.id, "queued", generation.provider)
    for name, value in {
        "generation": generation.id,
        "attempt": claim.attempt_id,
        "account": claim.account,
        "provider": generation.provider,
        "from": "queued",
        "to": "submitting",
        "reason": "attempt 1",
    }.items():
        assert taken[name] == value


class Broken(Exception):
    pass


def test_a_move_that_is_rolled_back_is_not_told(ledger: Ledger, at_debug: Lines):
    (generation,) = ledger.generations.create([new()])

    def cancel(*, and_break: bool) -> None:
        with ledger.database.write() as connection:
            changes = Changes(connection, ledger.database.clock())
            changes.lock([generation.id])
            assert changes.move(generation.id, State.CANCELLED, "because")
            changes.flush()
            if and_break:
                raise Broken

    with pytest.raises(Broken):
        cancel(and_break=True)
    assert [line["to"] for line in at_debug.told()] == ["queued"]
    cancel(and_break=False)
    assert [line["to"] for line in at_debug.told()] == ["queued", "cancelled"]


def test_a_round_of_the_pipeline_tells_one_line_per_group_and_one_per_submission(start: Start, at_info: Lines):
    pipeline = start()
    pipeline.submit("a fox", "an owl", "a moth")
    pipeline.until_settled()
    steps = {
        name: [line for line in at_info.told("step done") if line["step"] == name] for name in ("submit", "archive")
    }
    for lines in steps.values():
        assert 1 <= len(lines) <= 3
        assert sum(line["count"] for line in lines) == 3
        assert sum(line.get("ok", 0) for line in lines) == 3
    assert {"dispatch", "ingest"} <= {line["step"] for line in at_info.told("step done")}
    asked = at_info.told("provider asked")
    assert [(line["method"], line["status"]) for line in asked] == [("POST", 200)] * 3
    assert "generation moved" not in at_info.text


def test_a_request_is_told_without_its_query(at_debug: Lines):
    telemetry.request("Kie", "GET", "/task?key=S3CRET", time.monotonic(), status=200, error=None, is_submission=False)
    telemetry.request("Kie", "POST", "/task", time.monotonic(), status=None, error="read_timeout", is_submission=True)
    asked, submitted = at_debug.told()
    assert (asked["level"], asked["path"], asked["status"]) == ("DEBUG", "/task", 200)
    assert (submitted["level"], submitted["error"]) == ("INFO", "read_timeout")
    assert "status" not in submitted


def test_a_level_that_is_off_costs_no_formatting(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, at_info: Lines):
    monkeypatch.setattr(telemetry, "_tell", lambda *_: pytest.fail("nobody listens"))
    claimed(ledger)
    telemetry.request("Kie", "GET", "/task", time.monotonic(), status=200, error=None, is_submission=False)
    telemetry.log.setLevel(logging.WARNING)
    telemetry.step("submit", 1, time.monotonic())
    assert at_info.text == ""


def test_what_processes_of_one_machine_print_stays_json(capsys: pytest.CaptureFixture[str]):
    print_json_line("worker", '{"ts": "now", "message": "step done"}')
    print_json_line("clock", 'a "plain" line')
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first == {"process": "worker", "ts": "now", "message": "step done"}
    assert (second["process"], second["message"]) == ("clock", 'a "plain" line')


def test_a_wrong_format_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOG_FORMAT", "JSON")
    assert load_settings().log_format == "json"
    monkeypatch.setenv("LOG_FORMAT", "yaml")
    with pytest.raises(ConfigurationError, match="LOG_FORMAT: 'yaml' is not console or json"):
        load_settings()
