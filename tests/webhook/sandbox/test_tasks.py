import pytest
import urllib3

from tests.webhook.sandbox.helpers import Client, payload, shape
from webhook.sandbox import running


def retrieve(client: Client, **body: object) -> dict[str, object]:
    answer = client.post("/midjourney/tasks", body)
    assert answer.status == 200, answer.data
    return answer.json()


def test_a_finished_record_has_all_that_is_documented(client: Client):
    task_id = client.made("a fox", callback_url="http://127.0.0.1:9/a1/token", quality="1")["task_id"]
    record = client.finished(task_id)
    documented = payload("tasks_retrieve_success.json")
    for key in ("request", "response"):
        expected = {name: kind for name, kind in shape(documented[key]).items() if name not in {"job_id", "hold"}}
        assert expected.items() <= shape(record[key]).items()
    assert (shape(documented) | {"request": 0, "response": 0}).items() <= (
        shape(record) | {"request": 0, "response": 0}
    ).items()
    newer = {"trace_id": "str", "user_id": "str", "api_id": "str", "started_at": "float", "elapsed": "float"}
    assert newer.items() <= shape(record).items()
    assert record["request"]["callback_url"] == "http://127.0.0.1:9/a1/token"
    assert record["request"]["quality"] == "1"
    assert record["id"] == record["response"]["task_id"] == task_id
    assert record["created_at"] <= record["finished_at"]


def test_a_running_record_has_no_response_and_no_end(http: urllib3.PoolManager):
    with running(delay=30) as sandbox:
        client = Client(sandbox.url, http)
        record = client.record(client.made(**{"async": True})["task_id"])
    assert {"_id", "id", "type", "created_at", "trace_id", "request"} <= record.keys()
    assert not {"response", "finished_at", "elapsed"} & record.keys()
    assert record["request"]["callback_url"] is None


def test_a_failed_record_says_so(client: Client):
    record = client.finished(client.made("tiny: x sandbox:fail", **{"async": True})["task_id"])
    expected = shape(payload("tasks_failed_minimal.json")["response"])
    assert expected.items() <= shape(record["response"]).items()
    assert record["response"]["success"] is False


def test_an_unknown_id_is_an_empty_object(client: Client):
    assert retrieve(client, action="retrieve", id="no-such-task") == payload("tasks_retrieve_unknown_id.json")
    assert retrieve(client, action="retrieve") == {}


def test_a_task_is_found_by_its_trace_as_well(client: Client):
    record = client.finished(client.made()["task_id"])
    found = retrieve(client, trace_id=record["trace_id"])
    assert found["id"] == record["id"]
    batch = retrieve(client, action="retrieve_batch", trace_ids=[record["trace_id"]])
    assert [item["id"] for item in batch["items"]] == [record["id"]]


def test_a_batch_leaves_out_what_it_does_not_know(client: Client):
    first, second = client.made()["task_id"], client.made()["task_id"]
    batch = retrieve(client, action="retrieve_batch", ids=[first, "unknown", second], id="")
    assert batch.keys() == payload("tasks_retrieve_batch_success.json").keys()
    assert [item["id"] for item in batch["items"]] == [first, second]
    assert batch["count"] == 2


def test_a_batch_without_ids_lists_the_newest_twelve(client: Client):
    made = [client.made(**{"async": True})["task_id"] for _ in range(15)]
    newest_first = made[::-1]
    listed = retrieve(client, action="retrieve_batch")
    assert [item["id"] for item in listed["items"]] == newest_first[:12]
    assert listed["count"] == 12
    page = retrieve(client, action="retrieve_batch", offset=12, limit=2)
    assert [item["id"] for item in page["items"]] == newest_first[12:14]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"action": "delete"},
        {"action": "retrieve_batch", "ids": "all"},
        {"action": "retrieve_batch", "limit": "12"},
        {"action": "retrieve_batch", "offset": -1},
    ],
)
def test_wrong_queries_are_refused(client: Client, body: object):
    answer = client.post("/midjourney/tasks", body)
    assert answer.status == 400
    assert shape(answer.json()) == shape(payload("error_400_bad_request.json"))
