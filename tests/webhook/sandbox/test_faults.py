"""What each knob does on the wire."""

import contextlib
import hashlib
import http.client
import io
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.patience import patient
from tests.webhook.sandbox.helpers import TOKEN, Client, Receiver, open_picture, payload, receiving, shape, until
from webhook.sandbox import Sandbox, running
from webhook.sandbox.downloads import SLOW
from webhook.sandbox.faults import KNOBS, Faults, FaultsInvalid, check_faults, fault_words, without_fault_words

# --- before it is accepted ---


@pytest.mark.parametrize(
    ("knob", "status", "code", "documented"),
    [
        ("too_many", 429, "too_many_requests", "error_429_too_many_requests.json"),
        ("unavailable", 503, "api_error", "error_500_api_error.json"),
        ("error_before", 500, "api_error", "error_500_api_error.json"),
        ("reject", 403, "forbidden", "error_403_forbidden.json"),
    ],
)
def test_a_refused_submission_costs_nothing(
    sandbox: Sandbox, client: Client, knob: str, status: int, code: str, documented: str
):
    sandbox.set_faults({knob: 1})
    for _ in range(2):
        answer = client.imagine()
        assert answer.status == status
        assert answer.json()["error"]["code"] == code
        assert shape(answer.json()) == shape(payload(documented))
    assert answer.headers.get("Retry-After") == ("1" if knob == "too_many" else None)
    assert sandbox.bill() == {"charges": 0, "lines": []}
    assert [entry["fault"] for entry in sandbox.log("submit")] == [knob, knob]


@pytest.mark.parametrize(("knob", "statuses"), [("too_many", [429, 200]), ("unavailable", [503, 200])])
def test_a_word_for_being_busy_refuses_only_the_first_submission(client: Client, knob: str, statuses: list[int]):
    assert [client.imagine(f"tiny: x sandbox:{knob}").status for _ in range(2)] == statuses
    assert client.imagine(f"tiny: another sandbox:{knob}").status == statuses[0]


@pytest.mark.parametrize(("knob", "status"), [("error_before", 500), ("reject", 403)])
def test_a_word_for_a_refusal_refuses_always(client: Client, knob: str, status: int):
    assert [client.imagine(f"tiny: x sandbox:{knob}").status for _ in range(2)] == [status, status]


# --- the answer goes wrong, but it is accepted ---


def test_error_after_answers_500_and_the_task_runs(sandbox: Sandbox, client: Client, receiver: Receiver):
    answer = client.imagine("tiny: x sandbox:error_after", callback_url=receiver.url)
    assert answer.status == 500
    assert "task_id" not in answer.json()
    assert receiver.first()["success"] is True
    assert sandbox.bill()["charges"] == 1


def test_garbled_answers_200_with_no_json(sandbox: Sandbox, client: Client, receiver: Receiver):
    answer = client.imagine("tiny: x sandbox:garbled", callback_url=receiver.url)
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    receiver.first()
    assert sandbox.bill()["charges"] == 1


def test_no_task_id_answers_success_only(sandbox: Sandbox, client: Client, receiver: Receiver):
    assert client.made("tiny: x sandbox:no_task_id", callback_url=receiver.url) == {"success": True}
    receiver.first()
    assert sandbox.bill()["charges"] == 1


def test_reset_resets_the_connection_without_an_answer(sandbox: Sandbox, client: Client, receiver: Receiver):
    with pytest.raises(urllib3.exceptions.ProtocolError) as raised:
        client.imagine("tiny: x sandbox:reset", callback_url=receiver.url)
    assert isinstance(raised.value.args[1], ConnectionResetError)
    assert not isinstance(raised.value.args[1], http.client.RemoteDisconnected)
    receiver.first()
    assert sandbox.bill()["charges"] == 1
    assert sandbox.log("submit")[0]["status"] is None


def test_hang_never_answers(sandbox: Sandbox, client: Client, receiver: Receiver):
    body = {"prompt": "tiny: x sandbox:hang", "callback_url": receiver.url}
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        client.http.request(
            "POST", f"{client.url}/midjourney/imagine", json=body, headers=TOKEN, retries=False, timeout=0.3
        )
    receiver.first()
    assert sandbox.bill()["charges"] == 1
    assert client.imagine().status == 200


# --- the callback ---


def test_drop_sends_no_callback(sandbox: Sandbox, client: Client, receiver: Receiver):
    task_id = client.made("tiny: x sandbox:drop", callback_url=receiver.url)["task_id"]
    assert client.finished(task_id)["response"]["success"] is True
    (entry,) = until(lambda: sandbox.log("callback"))
    assert entry["error"] == "dropped"
    time.sleep(0.05)
    assert receiver.bodies == []


def test_duplicate_sends_the_same_callback_three_times_at_once(client: Client):
    with receiving(seconds=0.2) as receiver:
        client.made("tiny: x sandbox:duplicate", callback_url=receiver.url)
        until(lambda: len(receiver.bodies) == 3)
    assert receiver.bodies[0] == receiver.bodies[1] == receiver.bodies[2]
    assert receiver.most_at_once == 3


def test_delay_takes_five_times_as_long(http: urllib3.PoolManager, receiver: Receiver):
    with running(delay=0.25) as sandbox:
        began = time.monotonic()
        Client(sandbox.url, http).made("tiny: x sandbox:delay", callback_url=receiver.url)
        receiver.first()
        assert time.monotonic() - began >= 1.25


def test_reorder_sends_progress_after_the_end(client: Client, receiver: Receiver):
    client.made("tiny: x sandbox:reorder", callback_url=receiver.url)
    until(lambda: len(receiver.bodies) == 3)
    assert [body["progress"] for body in receiver.bodies] == [100, 35, 75]
    assert [len(body["actions"]) for body in receiver.bodies] == [9, 0, 0]


def test_early_calls_back_before_the_submission_is_answered(client: Client):
    with receiving(seconds=0.2) as receiver:
        acknowledged = client.made("tiny: x sandbox:early", callback_url=receiver.url)
        (body,) = receiver.bodies
    assert body["task_id"] == acknowledged["task_id"]
    assert body["progress"] == 100


def test_a_synchronous_failure_answers_with_the_documented_error(client: Client):
    answers = [client.imagine("tiny: x sandbox:fail") for _ in range(2)]
    assert [answer.status for answer in answers] == [400, 500]
    assert [answer.json()["error"]["code"] for answer in answers] == ["bad_request", "api_error"]


# --- the links and the pictures ---


def test_dead_links_are_dead_until_somebody_asks_again(client: Client, receiver: Receiver):
    client.made("tiny: x sandbox:dead_links", callback_url=receiver.url)
    body = receiver.first()
    assert client.get(body["raw_image_url"]).status == 404
    assert client.get(body["image_url"]).status == 404
    for _ in range(2):
        assert client.get(client.record(body["task_id"])["response"]["raw_image_url"]).status == 200


def test_dead_links_are_dead_in_the_first_query_when_there_is_no_callback(client: Client):
    task_id = client.made("tiny: x sandbox:dead_links", **{"async": True})["task_id"]
    assert client.get(client.finished(task_id)["response"]["raw_image_url"]).status == 404
    assert client.get(client.record(task_id)["response"]["raw_image_url"]).status == 200


def test_links_that_are_dead_for_ever_stay_dead(client: Client):
    made = client.made("tiny: x sandbox:dead_links_forever")
    assert client.get(made["raw_image_url"]).status == 404
    for _ in range(2):
        assert client.get(client.record(made["task_id"])["response"]["raw_image_url"]).status == 404


@pytest.mark.parametrize("prompt", ["a fox", "tiny: a fox"])
def test_corrupt_pictures_have_the_right_length_and_cannot_be_read(sandbox: Sandbox, client: Client, prompt: str):
    link = client.made(prompt)["raw_image_url"]
    whole = client.get(link).data
    sandbox.set_faults({"corrupt": 1})
    data = client.get(link).data
    assert len(data) == len(whole)
    assert data != whole
    with Image.open(io.BytesIO(data)) as picture, pytest.raises(SyntaxError, match="broken PNG"):
        picture.verify()
    assert sandbox.served(link)[-1]["sha256"] == hashlib.sha256(data).hexdigest()


def test_truncated_pictures_end_before_their_length(sandbox: Sandbox, client: Client):
    link = client.made("a fox")["raw_image_url"]
    size = len(client.get(link).data)
    sandbox.set_faults({"truncated": 1})
    answer = client.http.request("GET", link, preload_content=False)
    assert int(answer.headers["Content-Length"]) == size
    with pytest.raises(urllib3.exceptions.ProtocolError, match=f"IncompleteRead.{size // 2} bytes read"):
        answer.read()


def test_short_pictures_have_a_length_that_fits(sandbox: Sandbox, client: Client):
    link = client.made("a fox")["raw_image_url"]
    size = len(client.get(link).data)
    sandbox.set_faults({"short": 1})
    answer = client.get(link)
    assert int(answer.headers["Content-Length"]) == len(answer.data) == size // 2


def test_html_comes_as_a_png(client: Client):
    answer = client.get(client.made("tiny: x sandbox:html")["raw_image_url"])
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.data.startswith(b"<!doctype html>")


def test_slow_pictures_drip_but_arrive_whole(monkeypatch: pytest.MonkeyPatch, client: Client):
    pauses: list[float] = []
    first_is_here = threading.Event()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert first_is_here.wait(patient(20))

    monkeypatch.setattr("webhook.sandbox.downloads.time", SimpleNamespace(sleep=pause))
    link = client.made("a fox sandbox:slow")["raw_image_url"]
    answer = client.http.request("GET", link, preload_content=False)
    first = answer.read(10)
    first_is_here.set()
    assert open_picture(first + answer.read()).format == "PNG"
    assert sum(pauses) == pytest.approx(SLOW, rel=0.1)


def test_a_spoiled_download_may_work_the_next_time(sandbox: Sandbox, client: Client):
    link = client.made()["raw_image_url"]
    sandbox.set_faults({"html": 0.5})
    kinds = {client.get(link).data[:4] for _ in range(40)}
    assert kinds == {b"<!do", b"\x89PNG"}


# --- the knobs themselves ---


def test_every_knob_is_tested_here():
    text = Path(__file__).read_text(encoding="utf-8")
    assert [knob for knob in KNOBS if f"sandbox:{knob}" not in text and f'"{knob}"' not in text] == []


def test_words_count_for_their_own_generation_only_and_are_not_drawn(client: Client):
    grid = client.made("tiny: a fox sandbox:html")
    assert client.get(grid["raw_image_url"]).data.startswith(b"<!doctype")
    single = client.made("", action="upscale1", image_id=grid["image_id"])
    picture = open_picture(client.get(single["raw_image_url"]).data)
    assert picture.info["Description"].startswith("tiny: a fox Job ID: ")


def test_a_word_that_is_no_knob_is_refused(sandbox: Sandbox, client: Client):
    answer = client.imagine("tiny: x sandbox:explode")
    assert answer.status == 400
    assert "unknown knob 'explode'; the knobs are too_many, " in answer.json()["error"]["message"]
    assert sandbox.bill()["charges"] == 0


def test_the_same_seed_draws_the_same_faults():
    def drawn(seed: int) -> list[frozenset[str]]:
        faults = Faults({"drop": 0.5, "fail": 0.3}, seed)
        return [faults.draw(KNOBS) for _ in range(50)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_probabilities_are_kept_to():
    faults = Faults({"drop": 0.25, "fail": 1}, 3)
    drawn = [faults.draw(KNOBS) for _ in range(2000)]
    assert 0.2 < sum("drop" in knobs for knobs in drawn) / 2000 < 0.3
    assert all("fail" in knobs and "reset" not in knobs for knobs in drawn)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.dictionaries(st.sampled_from(list(KNOBS)) | st.text(), x),
    )
)
def test_whatever_is_given_as_faults_is_checked_without_a_crash(faults: object):
    with contextlib.suppress(FaultsInvalid):
        assert all(knob in KNOBS and 0 <= chance <= 1 for knob, chance in check_faults(faults).items())


@given(st.text(), st.sets(st.sampled_from(list(KNOBS))))
def test_words_are_found_wherever_they_stand(text: str, knobs: set[str]):
    plain = text.replace("sandbox:", "")
    prompt = " ".join([plain, *(f"sandbox:{knob}" for knob in knobs), "end"])
    assert fault_words(prompt) == knobs
    assert without_fault_words(prompt) == " ".join([*plain.split(), "end"])
