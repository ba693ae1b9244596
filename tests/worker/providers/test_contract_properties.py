"""No garbage breaks a provider: whatever comes in, only the documented errors come out, and what can be stored."""

import contextlib
import json
import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
import responses
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.worker.providers.contract import CALLBACK_FILES, MARK, NOW, provider, send
from tests.worker.providers.dialects import DIALECTS
from tests.worker.providers.dialects.dialect import PAYLOADS
from tests.worker.providers.operations import FILE, LINK
from worker.errors import CallbackUnreadable, ProviderError, QueryFailed, RequestInvalid
from worker.generation import Accepted, AssetKind, GenerationRequest, Link, Operation, Outcome, Status
from worker.providers import provider_class

VENDORS = {name: provider(name) for name in DIALECTS}
CALLBACKS = {
    name: [json.loads(file.read_bytes()) for other, file in (param.values for param in CALLBACK_FILES) if other == name]
    for name in DIALECTS
}
RECORDS = {
    name: [
        (json.loads((PAYLOADS / name / file).read_bytes()), task_ids)
        for file, task_ids in DIALECTS[name].replies.items()
    ]
    for name in DIALECTS
}
EXAMPLES = {name: list(dialect.examples.values()) for name, dialect in DIALECTS.items()}
WORDS = tuple(sorted({word for dialect in DIALECTS.values() for word in dialect.words}))
ODD = st.sampled_from(
    (
        "http://[",
        LINK,
        FILE,
        "ftp://a.test",
        "http://a.test:99999/",
        "\ud800",
        "a\x00b",
        "16:9",
        "0",
        10**400,
        2**63,
        True,
    )
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | ODD
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=4),
    max_leaves=12,
)
quickly = settings(max_examples=examples(100))
every_provider = pytest.mark.parametrize("name", DIALECTS)


def changed(data: st.DataObject, payload: Any) -> Any:
    """A real payload with up to four places, however deep, replaced, taken out or added."""
    payload = deepcopy(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        places = list(_places(payload))
        holder, key = data.draw(st.sampled_from(places)) if places else (payload, None)
        match data.draw(st.sampled_from(("replace", "take out", "add"))):
            case "replace" if key is not None:
                holder[key] = data.draw(ODD | VALUES)
            case "take out" if key is not None:
                del holder[key]
            case _ if isinstance(holder, dict):
                holder[data.draw(st.sampled_from(WORDS))] = data.draw(VALUES)
            case _:
                holder.append(data.draw(VALUES))
    return payload


def _places(payload: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(payload, dict | list):
        for key, value in payload.items() if isinstance(payload, dict) else enumerate(payload):
            yield payload, key
            yield from _places(value)


def check_outcome(outcome: Any) -> None:
    """It can be stored as it is."""
    assert isinstance(outcome, Outcome)
    assert outcome.progress is None or 0 <= outcome.progress <= 100
    for text in (*outcome.actions, *outcome.parent.keys(), *outcome.parent.values()):
        assert isinstance(text, str)
        assert text.isprintable()
    for text in (outcome.task_id, outcome.reason, outcome.message):
        assert text is None or (isinstance(text, str) and text.isprintable())
    for link in outcome.links:
        assert isinstance(link, Link)
        assert isinstance(link.kind, AssetKind)
        assert link.url.lower().startswith(("http://", "https://"))
        assert link.url.isprintable()
    assert outcome.text is None or json.dumps(outcome.text)
    assert (outcome.status is not Status.SUCCEEDED) or outcome.links or outcome.text


@contextlib.contextmanager
def answering(body: bytes) -> Iterator[responses.RequestsMock]:
    """Every request gets this answer."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        for method in ("GET", "POST"):
            mock.add(method, re.compile(".*"), body=body)
        yield mock


def assert_sent_once(mock: responses.RequestsMock) -> None:
    """One vendor's reply may ask for a second step at another address; no address is posted to twice."""
    urls = [call.request.url for call in mock.calls]
    assert urls
    assert len(urls) == len(set(urls))


# --- callbacks


def parse(name: str, body: bytes) -> None:
    try:
        outcome = VENDORS[name].parse_callback({}, body, NOW)
    except CallbackUnreadable:
        return
    check_outcome(outcome)


# To make up a body takes far longer than to parse it, so each is for all.
@quickly
@given(body=st.binary())
def test_no_bytes_break_a_parser(body):
    for name in DIALECTS:
        parse(name, body)


@settings(max_examples=examples(1000))
@given(value=VALUES, encoding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-32")))
def test_no_json_breaks_a_parser(value, encoding):
    body = json.dumps(value, ensure_ascii=False).encode(encoding, "surrogatepass")
    for name in DIALECTS:
        parse(name, body)


@every_provider
@settings(max_examples=examples(200))
@given(data=st.data())
def test_no_change_of_a_real_callback_breaks_the_parser(name, data):
    parse(name, json.dumps(changed(data, data.draw(st.sampled_from(CALLBACKS[name])))).encode())


@every_provider
@quickly
@given(data=st.data())
def test_no_damage_to_a_real_callback_breaks_the_parser(name, data):
    body = bytearray(json.dumps(data.draw(st.sampled_from(CALLBACKS[name]))).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    parse(name, bytes(body[: data.draw(st.integers(0, len(body)))]))


@every_provider
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="depth of lists"),
        pytest.param(b'{"error":' * 100_000 + b"1" + b"}" * 100_000, id="depth of objects"),
        pytest.param(json.dumps({str(i): i for i in range(200_000)}).encode(), id="200,000 keys"),
        pytest.param(b'{"success": true, "progress": 1' + b"0" * 5000 + b"}", id="integer of 5,000 digits"),
        pytest.param(b'{"success": true, "progress": 1' + b"0" * 4000 + b"}", id="integer of 4,000 digits"),
        pytest.param(b'{"success": true, "progress": NaN}', id="NaN"),
        pytest.param(b'{"success": true, "progress": 1e999}', id="infinity"),
        pytest.param(b'{"success": false, "error": {"code": "\x00", "message": "\\ud800\\u0000"}}', id="NUL"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x00" * 100, id="zeros"),
        pytest.param(b"\xef\xbb\xbf{}", id="BOM"),
        pytest.param(b'{"task_id": "a", "task_id": {}, "success": true}', id="a key twice"),
    ],
)
def test_hostile_callbacks_do_not_break_the_parser(name, body):
    parse(name, body)


# --- replies


@every_provider
@settings(max_examples=examples(200))
@given(data=st.data())
def test_no_reply_to_a_question_breaks_it(name, data):
    real, task_ids = data.draw(st.sampled_from(RECORDS[name]))
    reply = data.draw(VALUES) if data.draw(st.booleans()) else changed(data, real)
    with answering(json.dumps(reply).encode()):
        try:
            outcomes = VENDORS[name].fetch(task_ids)
        except QueryFailed:
            return
        with contextlib.suppress(QueryFailed):
            for task in islice(VENDORS[name].recent(NOW), 100) if DIALECTS[name].lists else ():
                check_outcome(task.outcome)
                assert task.outcome.task_id
    assert outcomes.keys() <= set(task_ids)
    for task_id, outcome in outcomes.items():
        check_outcome(outcome)
        assert outcome.task_id == task_id


@every_provider
@quickly
@given(data=st.data())
def test_no_reply_to_a_submission_breaks_it_and_it_is_sent_once(name, data):
    request = data.draw(st.sampled_from(EXAMPLES[name]))
    real = DIALECTS[name].answers.get(request.operation, DIALECTS[name].taken)
    reply = data.draw(VALUES) if data.draw(st.booleans()) else changed(data, real)
    with answering(json.dumps(reply).encode()) as mock:
        with contextlib.suppress(ProviderError):
            taken = send(VENDORS[name], request, MARK)
            if isinstance(taken, Accepted):
                assert taken.task_id.isprintable()
            else:
                check_outcome(taken)
        assert_sent_once(mock)


# --- requests


@st.composite
def requests_to(draw: st.DrawFn, name: str) -> GenerationRequest:
    """A real request of which up to two parts are something else."""
    request = draw(st.sampled_from(EXAMPLES[name]))
    known = provider_class(name).capabilities[request.operation].options
    names = st.sampled_from(sorted(known)) if known else st.text()
    parts = {
        "operation": st.sampled_from(Operation),
        "prompt": st.sampled_from(("a\ud800", "a\x00", " ", "a cat --ar 1:1 --niji 6")) | st.text(),
        "options": st.dictionaries(names, ODD | VALUES, max_size=3).map(lambda more: {**request.options, **more}),
        "action": st.none() | st.sampled_from(("upscale1", "extend4", "")) | st.text(),
        "parent": st.dictionaries(st.sampled_from((*request.parent, "image_id")), st.text(), max_size=2),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(parts)), max_size=2))
    return replace(request, **{part: draw(parts[part]) for part in sorted(chosen)})


@every_provider
@settings(max_examples=examples(200))
@given(data=st.data())
def test_a_request_is_refused_in_a_sentence_or_sent_once(name, data):
    request = data.draw(requests_to(name))
    with answering(json.dumps(DIALECTS[name].taken).encode()) as mock:
        try:
            translated = VENDORS[name].translate(request)
        except RequestInvalid as error:
            assert 10 < len(str(error)) < 1000  # noqa: PT017
            return
        finally:
            assert len(mock.calls) == 0
        with contextlib.suppress(ProviderError):
            VENDORS[name].submit(translated, MARK)
        assert_sent_once(mock)
