"""What Kie.ai is asked, and what its settings change."""

import json
from typing import Any

import pytest
import responses
from pydantic import ValidationError

from tests.worker.providers.test_kie import LINK, RESULT, ROOT, kie, payload
from worker.errors import QueryFailed
from worker.generation import AssetKind, Link, Outcome, Status
from worker.providers import Callback
from worker.providers.kie import Kie


def asked(path: str, ask: Any, *, status: int = 200, method: str = "GET", **reply: Any) -> Any:
    with responses.RequestsMock() as mock:
        mock.add(method, f"{ROOT}/{path}", json={"msg": "Words.", **reply}, status=status)
        return ask(kie())


def fetch(vendor: Kie) -> dict[str, Outcome]:
    return vendor.fetch(["t1"])


def test_a_task_is_asked_for_by_get():
    with responses.RequestsMock() as mock:
        record = {"code": 200, "data": {"taskId": "a/b", "successFlag": 0}}
        mock.get(
            f"{ROOT}/mj/record-info", json=record, match=[responses.matchers.query_param_matcher({"taskId": "a/b"})]
        )
        assert kie().fetch(["a/b"]) == {"a/b": Outcome(status=Status.IN_PROGRESS, task_id="a/b")}


def test_a_good_code_may_be_a_text():
    record = {"taskId": "t1", "successFlag": "0"}

    assert asked("mj/record-info", fetch, code="200", data=record) == {
        "t1": Outcome(status=Status.IN_PROGRESS, task_id="t1")
    }


@pytest.mark.parametrize("status", [200, 404, 422, 500])
@pytest.mark.parametrize("code", [404, 422, 408, "404"])
def test_a_task_that_is_not_visible_yet_is_left_out(status, code):
    assert asked("mj/record-info", fetch, status=status, code=code, data=None) == {}


def test_a_task_without_a_record_is_left_out():
    assert asked("mj/record-info", fetch, code=200, data=None) == {}


def test_the_record_of_another_task_is_left_out():
    assert asked("mj/record-info", fetch, code=200, data={"taskId": "t2", "successFlag": 2}) == {}


def test_a_path_that_does_not_exist_is_no_unknown_task():
    with responses.RequestsMock() as mock:
        mock.get(f"{ROOT}/mj/record-info", body="<html>", status=404)
        with pytest.raises(QueryFailed, match="http_404"):
            fetch(kie())


@pytest.mark.parametrize(
    "reply", [{"code": 401, "data": None}, {"code": 500, "data": None}, {"code": 200}, {"code": 200, "data": [1]}]
)
def test_a_question_that_is_not_answered_is_a_failed_query(reply):
    with pytest.raises(QueryFailed):
        asked("mj/record-info", fetch, **reply)


def test_the_credit_is_told_in_the_vendors_unit():
    assert asked("chat/credit", Kie.credit, **payload("credit_response.json")) == "100 credits"
    with pytest.raises(QueryFailed, match="number of credits"):
        asked("chat/credit", Kie.credit, code=200, data={})


def test_a_dead_link_is_renewed():
    link = Link(RESULT, AssetKind.IMAGE)
    with responses.RequestsMock() as mock:
        mock.post(f"{ROOT}/common/download-url", json=payload("download_url_response_shape.json"))
        assert kie().renew(link) == "https://temporary.example.invalid/xxx.png?valid-20-minutes"
        assert json.loads(mock.calls[0].request.body) == payload("download_url_request.json")


def test_what_cannot_be_renewed_has_no_other_link():
    def renew(vendor: Kie) -> str | None:
        return vendor.renew(Link(RESULT))

    assert asked("common/download-url", renew, method="POST", code=422, data=None) is None
    assert asked("common/download-url", renew, method="POST", code=404, data=None) is None
    for reply in ({"code": 500}, {"code": 200, "data": {"url": LINK}}, {"code": 200, "data": "soon"}):
        with pytest.raises(QueryFailed):
            asked("common/download-url", renew, method="POST", **reply)


# --- settings


def test_its_callbacks_are_signed_when_there_is_a_key():
    assert Kie.callback is Callback.SIGNED
    assert (kie().callback, kie().must_confirm) == (Callback.UNSIGNED, False)
    signed = kie(kie_webhook_hmac_key="key")
    assert (signed.callback, signed.must_confirm) == (Callback.SIGNED, True)


def test_a_blank_key_does_not_pass_for_none():
    with pytest.raises(ValidationError, match="kie_webhook_hmac_key"):
        kie(kie_webhook_hmac_key="  ")


def test_the_sister_brand_may_serve_its_own_files():
    assert kie().result_hosts == {"aiquickdraw.com", "api.kie.ai"}
    assert kie(kie_base_url="https://api.midapi.ai").result_hosts == {"aiquickdraw.com", "api.midapi.ai"}
