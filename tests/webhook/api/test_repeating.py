"""Requests that are repeated, and that come at once, on either kind of database."""

from flask import Flask

from tests.factories import at_once, failure, submitted
from worker.generation import State
from worker.ledger import Ledger

FOX = {"prompt": "a red fox"}


def test_of_many_at_once_each_key_has_one_generation(app: Flask, ledger: Ledger):
    """1,000 requests with 10 keys, 16 at a time."""
    answers: list[tuple[str, str, int]] = []

    def ask(first: int) -> None:
        client = app.test_client()
        for number in range(first, 1000, 16):
            made = client.post("/v1/generations", json=FOX, headers={"Idempotency-Key": f"key {number % 10}"})
            answers.append((f"key {number % 10}", made.json["id"], made.status_code))

    assert set(at_once(*[lambda first=first: ask(first) for first in range(16)])) == {None}  # type: ignore[misc]
    assert len(answers) == 1000
    assert len({(key, made) for key, made, _ in answers}) == len({made for _, made, _ in answers}) == 10
    assert sum(status == 201 for *_, status in answers) == sum(ledger.generations.counts().values()) == 10


def test_a_retry_that_comes_several_times_at_once_is_carried_out_once(app: Flask, ledger: Ledger):
    (claim,) = submitted(ledger)
    ledger.generations.apply_outcomes([failure(claim)])
    path = f"/v1/generations/{claim.generation.id}/retry"

    def ask() -> tuple[int, str | None]:
        answer = app.test_client().post(path, headers={"Idempotency-Key": "again"})
        return answer.status_code, answer.headers.get("Idempotent-Replayed")

    assert sorted(at_once(*[ask] * 8), key=str) == [*[(200, "true")] * 7, (200, None)]
    moves = ledger.generations.transitions_of([claim.generation.id])[claim.generation.id]
    assert [move.to_state for move in moves].count(State.QUEUED) == 2
