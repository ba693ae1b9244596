"""Every write is written down before it is carried out, and its answer afterwards; what is refused leaves nothing."""

import pytest

from tests.webhook.api.access.conftest import Door
from worker.generation import State
from worker.ledger.access import Action

pytestmark = pytest.mark.matrix


def actions(door: Door) -> list[Action]:
    return list(door.ledger.access.actions())


def test_a_write_is_there_before_it_is_carried_out_and_its_status_after(door: Door) -> None:
    response = door.post(secret=door.token().secret, headers={"X-Request-Id": "mine-7"})
    (seen,) = response.json["actions"]
    assert (seen["actor"], seen["action"], seen["status"]) == ("studio", "POST /v1/things", None)
    (action,) = actions(door)
    assert action == Action(
        id=seen["id"],
        at=door.clock(),
        door="api",
        actor="studio",
        action="POST /v1/things",
        subject=response.json["id"],
        status=201,
        request_id="mine-7",
    )


def test_who_needs_no_token_is_called_local(door: Door) -> None:
    made = door.post().json["id"]
    door.post(f"/v1/things/{made}/stop")
    assert [(one.actor, one.action, one.subject) for one in actions(door)] == [
        ("local", "POST /v1/things/{id}/stop", made),
        ("local", "POST /v1/things", made),
    ]
    assert door.ledger.generations.get([made])[0].state is State.CANCELLED


@pytest.mark.parametrize(
    ("prompt", "status"), [("impossible", 422), ("crash", 500)], ids=["refused by the use case", "a crash"]
)
def test_what_fails_while_it_is_carried_out_is_there_with_its_status(door: Door, prompt: str, status: int) -> None:
    assert door.post(json={"prompt": prompt}).status_code == status
    assert [(one.status, one.subject) for one in actions(door)] == [(status, None)]


def test_an_unknown_generation_is_there_as_it_was_called(door: Door) -> None:
    assert door.post("/v1/things/gen_9/stop").status_code == 404
    assert [(one.status, one.subject) for one in actions(door)] == [(404, "gen_9")]


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ({"json": {"prompt": "a fox", "colour": "red"}}, 422),
        ({"json": {}}, 422),
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": b"a fox", "content_type": "text/plain"}, 415),
        ({"headers": {"Origin": "https://evil.example"}}, 401),
        ({"headers": {"Authorization": "Bearer nonsense"}}, 401),
    ],
)
def test_what_is_refused_at_the_door_is_not_there(door: Door, facts: dict[str, object], status: int) -> None:
    assert door.post(**facts).status_code == status
    assert door.rows() == {}


def test_reads_and_dry_runs_are_not_there(door: Door) -> None:
    assert door.get().status_code == 200
    assert door.post(json={"prompt": "a fox", "dry_run": True}).status_code == 200
    assert door.rows() == {}


def test_the_history_of_a_generation_says_who_created_it(door: Door) -> None:
    made = door.post(secret=door.token().secret).json["id"]
    (created,) = door.ledger.generations.transitions_of([made])[made]
    assert (created.to_state, created.cause) == (State.QUEUED, "created by studio (API)")


def test_nothing_in_it_is_a_secret(door: Door) -> None:
    secret = door.token().secret
    door.post(f"/v1/things/{secret}/stop", secret=secret, headers={"X-Request-Id": secret})
    (action,) = actions(door)
    assert action.subject == "dk_live_[redacted]"
    assert str(action.request_id).startswith("req_")
    assert secret not in str(action)
