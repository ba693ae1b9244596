"""Each key has its own tasks and its own lines on the bill, and may be told to fail."""

import json
from typing import Any

import pytest
import urllib3

from webhook.sandbox import Sandbox


def ask(sandbox: Sandbox, http: urllib3.PoolManager, key: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    answer = http.request("POST", sandbox.url + path, headers=headers, body=json.dumps(body))
    return answer.status, answer.json()


def imagine(sandbox: Sandbox, http: urllib3.PoolManager, key: str) -> tuple[int, Any]:
    return ask(sandbox, http, key, "/midjourney/imagine", {"prompt": "a fox", "async": True})


def test_the_bill_says_which_key_paid(sandbox: Sandbox, http: urllib3.PoolManager) -> None:
    for key in ("one", "two", "one"):
        imagine(sandbox, http, key)
    assert [line["key"] for line in sandbox.bill()["lines"]] == ["one", "two", "one"]


def test_a_key_sees_its_own_tasks_only(sandbox: Sandbox, http: urllib3.PoolManager) -> None:
    _, reply = imagine(sandbox, http, "one")
    question = {"action": "retrieve", "id": reply["task_id"]}
    assert ask(sandbox, http, "one", "/midjourney/tasks", question)[1]["id"] == reply["task_id"]
    assert ask(sandbox, http, "two", "/midjourney/tasks", question)[1] == {}


@pytest.mark.parametrize(("trouble", "status"), [("invalid", 401), ("used-up", 403), ("too_many", 429)])
def test_a_key_may_be_told_to_fail_and_the_others_do_not(
    sandbox: Sandbox, http: urllib3.PoolManager, trouble: str, status: int
) -> None:
    sandbox.set_keys({"one": trouble})
    assert [imagine(sandbox, http, key)[0] for key in ("one", "two")] == [status, 200]
    sandbox.set_keys({})
    assert imagine(sandbox, http, "one")[0] == 200


def test_an_unknown_trouble_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="unknown failure 'tired'; expected one of invalid, used-up, too_many"):
        sandbox.set_keys({"one": "tired"})


def test_a_key_with_little_credit_is_used_up_until_it_is_topped_up(sandbox: Sandbox, http: urllib3.PoolManager) -> None:
    def credit(body: Any) -> tuple[int, Any]:
        return ask(sandbox, http, "of the operator", "/sandbox/credit", body)

    assert credit({"one": 2}) == (200, {"one": 2})
    assert [imagine(sandbox, http, key)[0] for key in ("one", "two", "one", "one", "two")] == [200, 200, 200, 403, 200]
    assert http.request("GET", f"{sandbox.url}/sandbox/credit").json() == {"one": 0}
    assert credit({"one": -1})[0] == credit({"one": True})[0] == credit([1])[0] == 400
    assert credit({}) == (200, {})
    assert imagine(sandbox, http, "one")[0] == 200
