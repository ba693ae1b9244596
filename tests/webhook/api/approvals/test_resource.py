"""/v1/approvals: what waits, and the decision, which is made once."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tasks.deciding import end_overdue
from tasks.usecases.tokens import Scope, TokenRequest, create_token
from tests.clock import FakeClock
from tests.factories import at_once
from tests.webhook.api.approvals.conftest import Ask
from webhook.api.app import create_app
from webhook.api.models.approvals import ApprovalPage, ApprovalWithGeneration, DecidedApproval
from webhook.api.models.problem import Problem
from worker.ledger import Ledger


def children(ledger: Ledger, generation_id: str) -> list[str | None]:
    return sorted(str(one.action) for one in ledger.generations.story(generation_id).children)


def test_what_waits_is_listed_page_by_page_and_one_is_shown(client: FlaskClient, ask: Ask):
    first = ask(key="sku-1")
    others = [ask(key=f"sku-{number}") for number in (2, 3)]
    page = client.get("/v1/approvals?limit=2").json
    found = ApprovalPage.model_validate(page)
    assert [one.id for one in found.data] == [first.id, others[0].id]
    assert (found.data[0].key, found.data[0].prompt, found.data[0].images) == ("sku-1", "fox 0", [1, 2, 3, 4])
    rest = ApprovalPage.model_validate(client.get(f"/v1/approvals?limit=2&after={found.next}").json)
    assert ([one.id for one in rest.data], rest.next) == ([others[1].id], None)
    one = ApprovalWithGeneration.model_validate(client.get(f"/v1/approvals/{first.id}").json)
    assert one == found.data[0]
    assert client.get("/v1/approvals/sku-1").json["id"] == first.id
    assert client.get("/v1/approvals/apr_unknown").status_code == 404


def test_a_decision_is_carried_out_once_and_another_one_hears_who_was_first(
    client: FlaskClient, ledger: Ledger, ask: Ask, rung: list[str]
):
    approval = ask()
    path = f"/v1/approvals/{approval.id}"
    made = client.post(path, json={"pick": [4, 2, 2], "why": "sharp\neyes"})
    decided = DecidedApproval.model_validate(made.json)
    assert (made.status_code, decided.picked, decided.created, decided.repeated) == (200, [2, 4], 2, False)
    assert (decided.state, decided.decided_by, decided.why) == ("decided", "local (API)", "sharp eyes")
    assert "dispatch" in rung
    again = DecidedApproval.model_validate(client.post(path, json={"pick": [2, 4]}).json)
    assert (again.repeated, again.created, again.why) == (True, 0, "sharp eyes")
    assert children(ledger, approval.generation_id) == ["upscale2", "upscale4"]
    for other in ({"pick": [1]}, {"reject": True}):
        refused = client.post(path, json=other)
        problem = Problem.model_validate(refused.json)
        assert (refused.status_code, problem.code) == (409, "already_decided")
        assert problem.detail.endswith("by local (API): images 2, 4")
        assert "2026-11-21T12:00:00" in problem.detail
        assert "Retry-After" not in refused.headers
    assert client.get("/v1/approvals").json["data"] == []
    assert client.get(path).json["state"] == "decided"


def test_a_rejection_is_a_decision(client: FlaskClient, ledger: Ledger, ask: Ask):
    approval = ask()
    path = f"/v1/approvals/{approval.id}"
    assert client.post(path, json={"reject": True}).json["state"] == "rejected"
    assert client.post(path, json={"reject": True}).json["repeated"] is True
    assert client.post(path, json={"pick": [1]}).status_code == 409
    assert children(ledger, approval.generation_id) == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"pick": [1], "reject": True},
        {"pick": []},
        {"reject": False},
        {"pick": ["1"]},
        {"pick": [True]},
        {"pick": [5]},
    ],
)
def test_what_is_no_decision_is_refused_with_a_sentence(client: FlaskClient, ledger: Ledger, ask: Ask, body: object):
    approval = ask()
    refused = client.post(f"/v1/approvals/{approval.id}", json=body)
    assert (refused.status_code, refused.json["code"]) == (422, "invalid")
    assert ledger.approvals.get(approval.id) == approval


def test_an_unknown_image_is_named(client: FlaskClient, ask: Ask):
    detail = client.post(f"/v1/approvals/{ask().id}", json={"pick": [2, 7]}).json["detail"]
    assert detail == "there is no image 7; the images are 1, 2, 3, 4"


def test_nobody_decides_after_its_time_also_before_the_sweep(
    client: FlaskClient, services_for, ledger: Ledger, clock: FakeClock, ask: Ask, tmp_path: Path
):
    prices = tmp_path / "prices.yaml"
    prices.write_text("currency: USD\nprices: [{provider: acedata, price: 0.05}]\n")
    approval, other = ask(), ask("first")
    clock.advance(timedelta(days=3).total_seconds())
    paths = [f"/v1/approvals/{one.id}" for one in (approval, other)]
    for path in paths:
        refused = client.post(path, json={"pick": [2]})
        assert (refused.status_code, refused.json["code"]) == (409, "expired")
        assert "expired at 2026-11-24T12:00:00" in refused.json["detail"]
    assert children(ledger, approval.generation_id) == []
    assert end_overdue(services_for(darkroom_prices=prices)) == 1
    assert client.post(paths[0], json={"pick": [2]}).json["code"] == "expired"
    refused = client.post(paths[1], json={"pick": [2]}).json
    assert (refused["code"], refused["detail"].rpartition("by ")[2]) == ("already_decided", "timeout: images 1")
    assert children(ledger, other.generation_id) == ["upscale1"]


def test_nothing_is_decided_where_the_provider_is_not_set_up(services_for, ledger: Ledger, ask: Ask):
    approval = ask()
    lacking = create_app(services_for(acedatacloud_api_token=None)).test_client()
    refused = lacking.post(f"/v1/approvals/{approval.id}", json={"pick": [2]})
    assert (refused.status_code, refused.json["code"]) == (503, "configuration")
    assert ledger.approvals.get(approval.id) == approval


def test_of_two_people_at_once_one_decides(app: Flask, ledger: Ledger, ask: Ask):
    for approval in [ask() for _ in range(5)]:
        path = f"/v1/approvals/{approval.id}"

        def decide(body: object, path: str = path) -> int:
            return app.test_client().post(path, json=body).status_code

        bodies = ({"pick": [1]}, {"pick": [2, 3]}, {"reject": True})
        answers = at_once(*[lambda body=body: decide(body) for body in bodies])  # type: ignore[misc]
        assert Counter(answers) == {200: 1, 409: 2}
        decided = ledger.approvals.get(approval.id)
        assert children(ledger, approval.generation_id) == [f"upscale{number}" for number in decided.picked or ()]


def test_a_token_of_tests_decides_about_tests_alone(client: FlaskClient, services_for, ledger: Ledger, ask: Ask):
    made = create_token(
        services_for(), TokenRequest(name="ci", scopes=[Scope.APPROVALS_WRITE], is_test=True, by="somebody")
    )
    headers = {"Authorization": f"Bearer {made.secret}"}
    approval = ask()
    assert client.post(f"/v1/approvals/{approval.id}", json={"pick": [2]}, headers=headers).status_code == 404
    assert ledger.approvals.get(approval.id) == approval


def test_the_token_decides_by_its_name_and_needs_the_scope(client: FlaskClient, services_for, ledger: Ledger, ask: Ask):
    def token(name: str, scope: Scope) -> dict[str, str]:
        made = create_token(services_for(), TokenRequest(name=name, scopes=[scope], by="somebody"))
        return {"Authorization": f"Bearer {made.secret}"}

    reader, studio = token("reader", Scope.APPROVALS_READ), token("studio", Scope.APPROVALS_WRITE)
    path = f"/v1/approvals/{ask().id}"
    assert client.get(path, headers=reader).status_code == 200
    assert client.post(path, json={"pick": [2]}, headers=reader).json["code"] == "scope_missing"
    assert client.post(path, json={"pick": [2]}, headers=studio).json["decided_by"] == "studio (API)"
    assert client.get("/v1/approvals", headers=studio).status_code == 200
