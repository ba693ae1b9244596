import threading

import pytest
import urllib3

from tests.patience import patient
from tests.webhook.sandbox.helpers import Client, Receiver
from webhook.sandbox import Sandbox, running


def test_livez_answers(client: Client):
    assert client.get("/livez").json() == {"status": "ok"}


def test_knobs_are_set_shown_and_replaced(sandbox: Sandbox, client: Client):
    assert client.get("/sandbox/faults").json() == {}
    assert client.post("/sandbox/faults", {"reject": 1}).json() == {"reject": 1.0}
    assert client.imagine().status == 403
    assert client.post("/sandbox/faults", {"drop": 0.5}).json() == {"drop": 0.5}
    assert client.get("/sandbox/faults").json() == {"drop": 0.5}
    assert client.imagine().status == 200


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        ({"explode": 1}, "unknown knob 'explode'; the knobs are too_many, unavailable"),
        ({"drop": 2}, "the probability of 'drop' must be a number from 0 to 1, not 2"),
        ({"drop": "often"}, "the probability of 'drop' must be a number from 0 to 1, not 'often'"),
        ({"drop": True}, "the probability of 'drop' must be a number from 0 to 1, not True"),
        ([1], "faults must be a JSON object of knobs and probabilities"),
    ],
)
def test_wrong_knobs_are_refused_with_a_sentence_and_change_nothing(
    sandbox: Sandbox, client: Client, faults: object, sentence: str
):
    sandbox.set_faults({"delay": 0.1})
    answer = client.post("/sandbox/faults", faults)
    assert answer.status == 400
    assert answer.json()["error"].startswith(sentence)
    assert client.get("/sandbox/faults").json() == {"delay": 0.1}


def test_knobs_can_be_set_from_the_start(http: urllib3.PoolManager):
    with running(delay=0, faults={"reject": 1}) as sandbox:
        assert Client(sandbox.url, http).imagine().status == 403


def test_the_log_holds_everything_and_can_be_filtered(sandbox: Sandbox, client: Client, receiver: Receiver):
    client.made(callback_url=receiver.url)
    client.get(receiver.first()["raw_image_url"])
    client.post("/midjourney/tasks", {"id": "x"})
    log = client.get("/sandbox/log").json()
    assert sorted(entry["kind"] for entry in log) == ["callback", "download", "query", "submit"]
    assert log == sandbox.log()
    assert [entry["kind"] for entry in client.get("/sandbox/log?kind=download").json()] == ["download"]
    assert client.get("/sandbox/log?kind=nothing").json() == []


def test_tasks_are_listed_newest_first(client: Client):
    client.made("tiny: first")
    client.made("tiny: second sandbox:html")
    client.imagine("tiny: third sandbox:fail")
    tasks = client.get("/sandbox/tasks").json()
    assert [task["prompt"].split()[1] for task in tasks] == ["third", "second", "first"]
    assert [task["state"] for task in tasks] == ["failed", "finished", "finished"]
    assert tasks[1]["faults"] == ["html"]
    assert client.get(tasks[2]["files"][0]["link"]).status == 200
    assert len(client.get("/sandbox/tasks?limit=1").json()) == 1


def test_the_page_shows_pictures_and_escapes_prompts(client: Client):
    assert b"Nothing has been submitted yet." in client.get("/").data
    client.made("tiny: <script>alert(1)</script>")
    page = client.get("/").data.decode()
    assert "&lt;script&gt;" in page
    assert "<script>" not in page
    assert "1 charge of 1 accepted" in page
    assert '<img src="/attachments/' in page


def test_reset_forgets_everything_but_the_knobs(sandbox: Sandbox, client: Client):
    sandbox.set_faults({"delay": 0.0})
    task_id = client.made()["task_id"]
    assert client.post("/sandbox/reset", {}).status == 200
    assert sandbox.bill() == {"charges": 0, "lines": []}
    assert sandbox.log() == []
    assert client.get("/sandbox/tasks").json() == []
    assert client.record(task_id) == {}
    assert client.get("/sandbox/faults").json() == {"delay": 0.0}


def test_reset_stops_what_is_under_way(http: urllib3.PoolManager, receiver: Receiver):
    with running(delay=patient(0.1)) as sandbox:
        client = Client(sandbox.url, http)
        client.made("tiny: forgotten sandbox:fail", callback_url=receiver.url)
        client.post("/sandbox/reset", {})
        client.made("tiny: remembered", callback_url=receiver.url)
        receiver.first()
    assert [body["success"] for body in receiver.bodies] == [True]


def test_a_stopped_sandbox_leaves_no_threads_and_no_listener(http: urllib3.PoolManager):
    before = threading.active_count()
    with running(delay=30) as sandbox:
        Client(sandbox.url, http).made(callback_url="http://127.0.0.1:9/")
    for thread in threading.enumerate():
        if thread.name.startswith("sandbox"):
            thread.join(patient(2))
    assert threading.active_count() <= before
    with pytest.raises(urllib3.exceptions.NewConnectionError):
        Client(sandbox.url, http).get("/livez")
