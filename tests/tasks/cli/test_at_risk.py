"""`darkroom at-risk`: what dies soon is named before it is lost."""

import json

import pytest

from tests.factories import LEASE, delivery, failure, submitted
from tests.tasks.cli import stories
from tests.tasks.cli.conftest import Darkroom
from worker.errors import CallbackUnreadable
from worker.ledger import Ledger
from worker.ledger.outcome import News


def test_what_dies_soon_is_listed_and_is_no_good_end(darkroom: Darkroom, ledger: Ledger) -> None:
    generation_id = stories.succeeded(ledger)
    result = darkroom("at-risk", "--within", "2d")
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{generation_id} 0  link may expire in 24.0 h, 0 tries")
    (record,) = [json.loads(line) for line in darkroom("at-risk", "--within", "2d", "--json").stdout.splitlines()]
    assert record["generation"] == generation_id
    assert 86_000 < record["seconds_left"] <= 86_400
    assert stories.SIGNATURE not in result.stdout


def test_what_waits_although_an_answer_came_that_says_nothing_is_listed_with_what_to_do(
    darkroom: Darkroom, ledger: Ledger
) -> None:
    (waits, failed) = submitted(ledger, 2)
    ledger.callbacks.store([delivery(one.attempt_id) for one in (waits, failed)])
    unreadable = CallbackUnreadable("it reports success without a result")
    ledger.generations.apply_outcomes(
        [
            News(attempt_id=one.attempt_id, outcome=unreadable, cause="callback", deadlines=(), callback_id=one.id)
            for one in ledger.callbacks.claim(9, LEASE)
        ]
    )
    ledger.generations.apply_outcomes([failure(failed)])
    result = darkroom("at-risk", "--within", "1m")
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{waits.generation.id} -  waiting for its outcome; unreadable callback: it reports success")
    (record,) = map(json.loads, darkroom("at-risk", "--within", "1m", "--json").stdout.splitlines())
    assert (record["generation"], record["reason"], record["index"]) == (waits.generation.id, "unreadable", None)
    assert f"`darkroom dead replay {record['callback']}`" in line


def test_what_has_time_or_is_stored_is_not_listed(darkroom: Darkroom, ledger: Ledger) -> None:
    stories.archived(ledger)
    stories.succeeded(ledger, "task-2")
    result = darkroom("at-risk")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "Nothing is at risk.\n")


@pytest.mark.parametrize("span", ["2", "h", "-1h", "2 weeks", "9999999d"])
def test_a_wrong_span_is_explained(darkroom: Darkroom, ledger: Ledger, span: str) -> None:
    result = darkroom("at-risk", "--within", span)
    assert result.exit_code == 2
    assert "is not a time span such as 90m, 2h or 3d" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [("at-risk", "--within"), ("spend", "--since"), ("reconcile", "--since"), ("rescue", "--provider=kie", "--since")],
)
def test_a_span_that_is_longer_than_all_history_is_refused(darkroom: Darkroom, arguments: tuple[str, ...]) -> None:
    result = darkroom(*arguments, "999999d")
    assert result.exit_code == 2
    assert "'999999d' is too long: the maximum is 3650d" in result.stderr
