"""What every provider must do, run over all of PROVIDERS. A new one adds its `Dialect` and its folder of payloads."""

import json
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.providers.loopback import (
    Loopback,
    hang_up,
    refused_port,
    reply,
    reset,
    reset_unread,
    says,
    silence,
)
from worker.errors import (
    AccountBlocked,
    CallbackUnreadable,
    ConfigurationError,
    NotTaken,
    ProviderError,
    QueryFailed,
    Rejected,
    RequestInvalid,
    Uncertain,
)
from worker.generation import AssetKind, GenerationRequest, Link, Operation, Outcome, Status
from worker.providers import PROVIDERS, Provider, Submission, http, load_provider
from worker.settings import Settings

PAYLOADS = Path(__file__).parents[2] / "payloads"
API_TOKEN = "tok_2f61c0ffee"
CALLBACK_URL = "https://studio.test/callbacks/vendor/0123abcd/k1.bm90LXJlYWxseS1hLW1hYy1idXQtYXMtbG9uZy1hcy1vbmU"
IMAGINE = GenerationRequest(Operation.IMAGINE, "a cat on a table")


@dataclass(frozen=True)
class Dialect:
    """The wire facts of one provider that its tests need."""

    settings: Callable[[str], Settings]
    keyless: Settings
    key_name: str
    callback_field: str
    #: the reply to a submission that was taken, and the task_id it names
    taken: Mapping[str, Any]
    task_id: str
    #: status, file with the body or the body itself, error, its code
    refusals: tuple[tuple[int, str | Mapping[str, Any], type[ProviderError], str], ...]
    #: payload files that are the body of a callback
    callbacks: tuple[str, ...]
    #: payload files that are the reply to a question about the tasks named here
    replies: Mapping[str, tuple[str, ...]]
    #: callbacks that must be put before a person, although their name says something else
    unreadable: frozenset[str] = field(default_factory=frozenset)


def ace_error(code: str) -> dict[str, Any]:
    return {"success": False, "error": {"code": code, "message": "Words of the vendor."}, "trace_id": "2efa9340"}


DIALECTS = {
    "acedata": Dialect(
        settings=lambda url: Settings(acedatacloud_api_token=API_TOKEN, acedatacloud_base_url=url),
        keyless=Settings(acedatacloud_api_token=None),
        key_name="ACEDATACLOUD_API_TOKEN",
        callback_field="callback_url",
        taken={"task_id": "b8b7fdc2"},
        task_id="b8b7fdc2",
        refusals=(
            (400, "error_400_bad_request.json", Rejected, "bad_request"),
            (400, "error_400_api_not_implemented.json", Rejected, "api_not_implemented"),
            (400, "error_400_token_mismatched.json", AccountBlocked, "token_mismatched"),
            (400, ace_error("no_token"), AccountBlocked, "no_token"),
            (401, "error_401_invalid_token.json", AccountBlocked, "invalid_token"),
            (401, ace_error("token_expired"), AccountBlocked, "token_expired"),
            (401, ace_error("token_mismatched"), AccountBlocked, "token_mismatched"),
            (403, "error_403_forbidden.json", Rejected, "forbidden"),
            (403, ace_error("used_up"), AccountBlocked, "used_up"),
            (403, ace_error("disabled"), AccountBlocked, "disabled"),
            (404, ace_error("no_api"), Rejected, "no_api"),
            (429, "error_429_too_many_requests.json", NotTaken, "too_many_requests"),
            (500, "error_500_api_error.json", Uncertain, "api_error"),
            (504, "error_504_timeout.json", Uncertain, "timeout"),
            (401, ace_error("unauthorized"), AccountBlocked, "unauthorized"),
            (402, ace_error("insufficient_balance"), AccountBlocked, "insufficient_balance"),
            (429, ace_error("rate_limited"), NotTaken, "rate_limited"),
            (400, ace_error("content_moderation"), Rejected, "content_moderation"),
            (502, ace_error("upstream_error"), Uncertain, "upstream_error"),
            (504, ace_error("upstream_timeout"), Uncertain, "upstream_timeout"),
            (200, ace_error("bad_request"), Rejected, "bad_request"),
            (200, ace_error("forbidden"), Rejected, "forbidden"),
            (200, ace_error("used_up"), AccountBlocked, "used_up"),
            (200, ace_error("too_many_requests"), NotTaken, "too_many_requests"),
            (200, ace_error("api_error"), Uncertain, "api_error"),
            (200, ace_error("timeout"), Uncertain, "timeout"),
            (200, {"success": False, "error": "fetch failed"}, Uncertain, "http_200"),
            (200, {"success": False, "error": None}, Uncertain, "http_200"),
            (200, {"success": True}, Uncertain, "no_task_id"),
            (200, {"task_id": ""}, Uncertain, "no_task_id"),
            (200, {"task_id": None}, Uncertain, "no_task_id"),
            (200, {"task_id": ["b8b7fdc2"]}, Uncertain, "no_task_id"),
        ),
        callbacks=("callback_*.json", "*_sync_success.json", "blend_success.json"),
        unreadable=frozenset({"callback_success_concepts.json"}),
        replies={
            "tasks_retrieve_success.json": ("7489df4c-ef03-4de0-b598-e9a590793434",),
            "tasks_retrieve_batch_success.json": (
                "7489df4c-ef03-4de0-b598-e9a590793434",
                "807f62de-c63e-4add-8345-7f0ae6dd18e7",
            ),
            "tasks_pending_minimal.json": ("pending-task",),
            "tasks_failed_minimal.json": ("failed-task",),
            "tasks_retrieve_unknown_id.json": ("never-heard-of",),
        },
    ),
}


def provider(name: str, url: str = "http://127.0.0.1:1") -> Provider:
    return load_provider(name, DIALECTS[name].settings(url))


def submit_error(name: str, url: str, callback_url: str | None = CALLBACK_URL) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        provider(name, url).submit(IMAGINE, callback_url)
    return caught.value


def promised(file: Path) -> Status:
    """The outcome that the name of a payload file promises."""
    progress = re.search(r"progress_(\d+)", file.name)
    if "pending" in file.name or (progress and int(progress[1]) < 100):
        return Status.IN_PROGRESS
    return Status.FAILED if re.search("fail", file.name) else Status.SUCCEEDED


CALLBACK_FILES = [
    pytest.param(name, file, id=f"{name}-{file.stem}")
    for name, dialect in DIALECTS.items()
    for pattern in dialect.callbacks
    for file in sorted((PAYLOADS / name).glob(pattern))
]


def test_every_provider_is_tested_here():
    assert DIALECTS.keys() == PROVIDERS.keys()


@pytest.mark.parametrize("name", PROVIDERS)
def test_every_payload_file_says_where_it_comes_from(name):
    sources = (PAYLOADS / name / "SOURCES.md").read_text()

    for file in (PAYLOADS / name).iterdir():
        assert file.name == "SOURCES.md" or f"`{file.name}`" in sources


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_missing_key_is_named(name):
    with pytest.raises(ConfigurationError, match=DIALECTS[name].key_name):
        load_provider(name, DIALECTS[name].keyless)


# --- submitting


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_callback_url_is_sent_and_the_task_id_comes_back(name):
    with Loopback(reply(200, DIALECTS[name].taken)) as server:
        submission = provider(name, server.url).submit(IMAGINE, CALLBACK_URL)

    assert submission == Submission(DIALECTS[name].task_id)
    assert [body[DIALECTS[name].callback_field] for body in server.bodies] == [CALLBACK_URL]


@pytest.mark.parametrize("name", PROVIDERS)
def test_without_a_callback_url_none_is_sent(name):
    with Loopback(reply(200, DIALECTS[name].taken)) as server:
        provider(name, server.url).submit(IMAGINE, None)

    assert DIALECTS[name].callback_field not in server.bodies[0]


@pytest.mark.parametrize(
    ("name", "status", "body", "error", "code"),
    [
        pytest.param(name, *row, id=f"{name}-{row[0]}-{row[3]}")
        for name, dialect in DIALECTS.items()
        for row in dialect.refusals
    ],
)
def test_every_refusal_becomes_the_right_error_after_one_post(name, status, body, error, code):
    content = (PAYLOADS / name / body).read_bytes() if isinstance(body, str) else body
    with Loopback(reply(status, content)) as server:
        raised = submit_error(name, server.url)

    assert (type(raised), raised.code, raised.status) == (error, code, status if code != "no_task_id" else None)
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        *(pytest.param(reply(status, {}), NotTaken, id=str(status)) for status in (429, 503)),
        *(pytest.param(reply(status, {}), AccountBlocked, id=str(status)) for status in (401, 402, 403)),
        *(pytest.param(reply(status, {}), Rejected, id=str(status)) for status in (400, 404, 413, 422)),
        *(pytest.param(reply(status, {}), Uncertain, id=str(status)) for status in (408, 409, 500, 502, 504)),
        pytest.param(reply(302, {}, {"Location": "/"}), Uncertain, id="302"),
        pytest.param(reply(200, b"<html>"), Uncertain, id="HTML"),
        pytest.param(reply(200, []), Uncertain, id="a JSON list"),
        pytest.param(reply(200, {"task_id": "1"}, length=99), Uncertain, id="half a reply"),
        pytest.param(says(b"220 smtp\r\n"), Uncertain, id="another protocol"),
        pytest.param(hang_up, Uncertain, id="hang up"),
        pytest.param(reset, Uncertain, id="reset"),
        pytest.param(reset_unread, Uncertain, id="reset, unread"),
    ],
)
def test_every_failure_of_the_wire_becomes_the_right_error_after_one_post(name, behaviour, expected):
    with Loopback(behaviour) as server:
        raised = submit_error(name, server.url)

    assert type(raised) is expected
    assert server.connections == 1
    assert len(server.requests) <= 1


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_provider_that_never_answers_is_asked_once_and_may_have_taken_it(name, monkeypatch):
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.2)
    with Loopback(silence) as server:
        raised = submit_error(name, server.url)

    assert (type(raised), raised.code, len(server.requests)) == (Uncertain, "read_timeout", 1)


@pytest.mark.parametrize("name", PROVIDERS)
def test_an_unreachable_provider_took_nothing(name):
    assert type(submit_error(name, f"http://127.0.0.1:{refused_port()}")) is NotTaken


@pytest.mark.parametrize("name", PROVIDERS)
def test_no_error_shows_the_key_or_the_callback_token(name):
    def echo(server: Loopback, connection: Any) -> None:
        server.read_request(connection)
        quoted = json.dumps({"error": {"code": "bad_request", "message": server.requests[0].decode()}}).encode()
        connection.sendall(b"HTTP/1.1 400 X\r\nContent-Length: %d\r\n\r\n%s" % (len(quoted), quoted))

    with Loopback(echo) as server:
        shown = "".join(traceback.format_exception(submit_error(name, server.url)))

    assert API_TOKEN not in shown
    assert CALLBACK_URL.rpartition(".")[2] not in shown


# --- checking


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("wrong", ["empty prompt", "long prompt", "unknown option", "unsupported operation"])
def test_what_cannot_be_sent_is_refused_before_anything_is_sent(name, wrong):
    vendor = provider(name)
    long = "x" * (vendor.prompt_limit + 1)
    unsupported = sorted(set(Operation) - vendor.operations)
    request, named = {
        "empty prompt": (GenerationRequest(Operation.IMAGINE, " "), "prompt"),
        "long prompt": (GenerationRequest(Operation.IMAGINE, long), f"{len(long)}.*{vendor.prompt_limit}"),
        "unknown option": (GenerationRequest(Operation.IMAGINE, "x", {"colour": "red"}), "'colour'.*"),
        "unsupported operation": (GenerationRequest(unsupported[0], "x"), f"{unsupported[0]}.*{Operation.IMAGINE}"),
    }[wrong]

    with pytest.raises(RequestInvalid, match=named):
        vendor.check(request)
    with pytest.raises(RequestInvalid):
        vendor.submit(request, CALLBACK_URL)


# --- callbacks


@pytest.mark.parametrize(("name", "file"), CALLBACK_FILES)
def test_a_callback_gives_the_outcome_in_its_name(name, file):
    if file.name in DIALECTS[name].unreadable:
        with pytest.raises(CallbackUnreadable):
            provider(name).parse_callback({}, file.read_bytes())
        return

    outcome = provider(name).parse_callback({}, file.read_bytes())

    assert outcome.status is promised(file)
    assert outcome.task_id == json.loads(file.read_bytes())["task_id"]
    assert bool(outcome.links) is (outcome.status is Status.SUCCEEDED)
    assert bool(outcome.reason) is (outcome.status is Status.FAILED)


@pytest.mark.parametrize(("name", "file"), CALLBACK_FILES)
def test_links_are_kept_byte_for_byte(name, file):
    if promised(file) is Status.SUCCEEDED and file.name not in DIALECTS[name].unreadable:
        for link in provider(name).parse_callback({}, file.read_bytes()).links:
            assert json.dumps(link.url).encode() in file.read_bytes()


def readable_or_unreadable(name: str, body: bytes) -> None:
    """Parse a callback as ingest does; anything but an outcome that can be stored or CallbackUnreadable is a bug."""
    try:
        outcome = PARSERS[name].parse_callback({}, body)
    except CallbackUnreadable:
        return
    assert isinstance(outcome, Outcome)
    assert outcome.progress is None or 0 <= outcome.progress <= 100
    for text in (*outcome.actions, *outcome.parent.values()):
        assert text.isprintable()
    for text in (outcome.task_id, outcome.reason, outcome.message):
        assert text is None or text.isprintable()
    for link in outcome.links:
        assert isinstance(link, Link)
        assert isinstance(link.kind, AssetKind)
        assert link.url.startswith(("http", "HTTP", "Http"))
        assert link.url.isprintable()
    assert outcome.status is not Status.SUCCEEDED or outcome.links


PARSERS = {name: provider(name) for name in PROVIDERS}
SEEDS = [(name, json.loads(file.read_bytes())) for name, file in (param.values for param in CALLBACK_FILES)]
WORDS = (
    "success",
    "error",
    "progress",
    "actions",
    "task_id",
    "image_url",
    "raw_image_url",
    "sub_image_urls",
    "video_urls",
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ("http://[", "https://a.test/x", "ftp://a.test", "http://a.test:99999/", "\ud800", "a\x00b", 10**400)
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", PROVIDERS)
@settings(deadline=None)
@given(body=st.binary())
def test_no_bytes_break_the_parser(name, body):
    readable_or_unreadable(name, body)


@pytest.mark.parametrize("name", PROVIDERS)
@settings(deadline=None)
@given(value=VALUES, encoding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "utf-32")))
def test_no_json_breaks_the_parser(name, value, encoding):
    readable_or_unreadable(name, json.dumps(value, ensure_ascii=False).encode(encoding, "surrogatepass"))


@settings(deadline=None)
@given(seed=st.sampled_from(SEEDS), data=st.data())
def test_no_mutation_of_a_real_callback_breaks_the_parser(seed, data):
    name, payload = seed
    changes = data.draw(st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=3))
    dropped = data.draw(st.sets(st.sampled_from([*payload])))
    mutated = {key: value for key, value in (payload | changes).items() if key not in dropped}

    readable_or_unreadable(name, json.dumps(mutated).encode())


@settings(deadline=None)
@given(seed=st.sampled_from(SEEDS), data=st.data())
def test_no_damage_to_a_real_callback_breaks_the_parser(seed, data):
    name, payload = seed
    body = bytearray(json.dumps(payload).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    readable_or_unreadable(name, bytes(body[: data.draw(st.integers(0, len(body)))]))


@pytest.mark.parametrize("name", PROVIDERS)
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
    readable_or_unreadable(name, body)


# --- asking


@pytest.mark.parametrize(
    ("name", "file", "task_ids"),
    [
        pytest.param(name, PAYLOADS / name / file, task_ids, id=f"{name}-{file}")
        for name, dialect in DIALECTS.items()
        for file, task_ids in dialect.replies.items()
    ],
)
def test_a_task_record_gives_the_outcome_in_its_name(name, file, task_ids):
    with Loopback(reply(200, file.read_bytes())) as server:
        outcomes = provider(name, server.url).fetch(task_ids)

    if "unknown" in file.name:
        assert outcomes == {}
    else:
        assert {key: outcome.status for key, outcome in outcomes.items()} == dict.fromkeys(task_ids, promised(file))
        assert all(outcome.task_id == key for key, outcome in outcomes.items())
        assert all(bool(outcome.links) is (outcome.status is Status.SUCCEEDED) for outcome in outcomes.values())


@pytest.mark.parametrize("name", PROVIDERS)
def test_asking_for_nothing_asks_nothing(name):
    assert provider(name).fetch([]) == {}


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    "behaviour",
    [
        *(pytest.param(reply(status, {}), id=str(status)) for status in (302, 400, 401, 403, 429, 500, 503)),
        pytest.param(reply(200, b"<html>"), id="HTML"),
        pytest.param(reply(200, [1]), id="a JSON list"),
        pytest.param(reset, id="reset"),
    ],
)
def test_a_question_that_fails_is_a_failed_query(name, behaviour):
    with Loopback(behaviour) as server:
        for ask in (lambda p: p.fetch(["a"]), lambda p: p.fetch(["a", "b"]), lambda p: p.find(CALLBACK_URL)):
            with pytest.raises(QueryFailed):
                ask(provider(name, server.url))
