"""What every provider must do, run over all of PROVIDERS. A new one adds its `Dialect` and its folder of payloads."""

import gzip
import json
import traceback
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from tests.worker.providers.contract import CALLBACK_FILES, CALLBACK_URL, MARK, NOW, promised, provider, send
from tests.worker.providers.dialects import DIALECTS
from tests.worker.providers.dialects.dialect import API_TOKEN, PAYLOADS
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
from worker.generation import Accepted, GenerationRequest, Operation, Status
from worker.providers import PROVIDERS, Mark, Provider, http, load_provider, posts_begun, provider_class
from worker.providers.bodies import json_body

IMAGINE = GenerationRequest(operation=Operation.IMAGINE, prompt="a cat on a table")


def submit_error(name: str, url: str, mark: Mark = MARK) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        send(provider(name, url), IMAGINE, mark)
    return caught.value


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
    before = posts_begun()
    with Loopback(reply(200, DIALECTS[name].taken)) as server:
        submission = send(provider(name, server.url), IMAGINE, MARK)

    # By this an error that nobody has thought of is told from one before anything was sent.
    assert posts_begun() == before + 1
    assert submission == Accepted(DIALECTS[name].task_id)
    assert [body[DIALECTS[name].callback_field] for body in server.bodies] == [CALLBACK_URL]


@pytest.mark.parametrize("name", PROVIDERS)
def test_without_a_callback_url_none_is_sent(name):
    with Loopback(reply(200, DIALECTS[name].taken)) as server:
        send(provider(name, server.url), IMAGINE, Mark("0123abcd", None))

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
        pytest.param(reply(429, {}), NotTaken, id="429"),
        pytest.param(reply(503, {}, {"Retry-After": "2"}), NotTaken, id="503 with Retry-After"),
        *(pytest.param(reply(status, {}), AccountBlocked, id=str(status)) for status in (401, 402, 403)),
        *(pytest.param(reply(status, {}), Rejected, id=str(status)) for status in (400, 404, 413, 422)),
        *(pytest.param(reply(status, {}), Uncertain, id=str(status)) for status in (408, 409, 500, 502, 503, 504)),
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
        quoted = json.dumps(DIALECTS[name].quoting(server.requests[0].decode())).encode()
        connection.sendall(b"HTTP/1.1 400 X\r\nContent-Length: %d\r\n\r\n%s" % (len(quoted), quoted))

    with Loopback(echo) as server:
        shown = "".join(traceback.format_exception(submit_error(name, server.url)))

    assert API_TOKEN not in shown
    assert CALLBACK_URL.rpartition(".")[2] not in shown


# --- checking


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("wrong", ["empty prompt", "long prompt", "unknown option", "action"])
def test_what_cannot_be_sent_is_refused_before_anything_is_sent(name, wrong):
    vendor = provider(name)
    long = "x" * (vendor.prompt_limit + 1)
    request, named = {
        "empty prompt": (GenerationRequest(operation=Operation.IMAGINE, prompt=" "), "prompt"),
        "long prompt": (
            GenerationRequest(operation=Operation.IMAGINE, prompt=long),
            f"{len(long)}.*{vendor.prompt_limit}",
        ),
        "unknown option": (
            GenerationRequest(operation=Operation.IMAGINE, prompt="x", options={"colour": "red"}),
            "'colour'.*",
        ),
        "action": (
            GenerationRequest(operation=Operation.IMAGINE, prompt="x", action="upscale1"),
            "imagine has no action 'upscale1'",
        ),
    }[wrong]

    refused_unsent(vendor, request, named)


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        pytest.param(name, operation, id=f"{name}-{operation}")
        for name in PROVIDERS
        for operation in sorted(set(Operation) - provider_class(name).capabilities.keys())
    ],
)
def test_an_operation_that_a_provider_lacks_is_refused_before_anything_is_sent(name, operation):
    vendor = provider(name)

    refused_unsent(
        vendor,
        GenerationRequest(operation=operation, prompt="x"),
        f"{vendor.title} does not support {operation}, only .*imagine",
    )


def refused_unsent(vendor: Provider, request: GenerationRequest, named: str) -> None:
    """The provider is at a port where nobody listens: what was sent would be another error."""
    with pytest.raises(RequestInvalid, match=named):
        vendor.translate(request)


# --- callbacks


@pytest.mark.parametrize(("name", "file"), CALLBACK_FILES)
def test_a_callback_gives_the_outcome_in_its_name(name, file):
    if file.name in DIALECTS[name].unreadable:
        with pytest.raises(CallbackUnreadable):
            provider(name).parse_callback({}, file.read_bytes(), NOW)
        return

    outcome = provider(name).parse_callback({}, file.read_bytes(), NOW)

    assert outcome.status is promised(file)
    assert outcome.task_id == DIALECTS[name].task_id_of(json.loads(file.read_bytes()))
    assert bool(outcome.links or outcome.text) is (outcome.status is Status.SUCCEEDED)
    assert bool(outcome.reason) is (outcome.status is Status.FAILED)


@pytest.mark.parametrize(("name", "file"), CALLBACK_FILES)
def test_a_callback_means_the_same_when_it_is_compressed_or_a_form(name, file):
    if file.name in DIALECTS[name].unreadable:
        return
    body, vendor = file.read_bytes(), provider(name)
    fields = {field: item if isinstance(item, str) else json.dumps(item) for field, item in json.loads(body).items()}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    expected = vendor.parse_callback({}, body, NOW)
    for headers, packed in (({}, gzip.compress(body)), (form, urlencode(fields).encode())):
        assert vendor.parse_callback(headers, json_body(headers, packed), NOW) == expected


@pytest.mark.parametrize(("name", "file"), CALLBACK_FILES)
def test_links_lie_on_hosts_that_downloads_may_reach(name, file):
    if promised(file) is Status.SUCCEEDED and file.name not in DIALECTS[name].unreadable:
        vendor = provider(name)
        hosts = [urlsplit(link.url).hostname for link in vendor.parse_callback({}, file.read_bytes(), NOW).links]
        real = [host for host in hosts if not host.endswith(("example.com", ".invalid"))]
        assert all(any(f".{host}".endswith(f".{known}") for known in vendor.result_hosts) for host in real)


@pytest.mark.parametrize(("name", "file"), CALLBACK_FILES)
def test_links_are_kept_byte_for_byte(name, file):
    if promised(file) is Status.SUCCEEDED and file.name not in DIALECTS[name].unreadable:
        for link in provider(name).parse_callback({}, file.read_bytes(), NOW).links:
            assert json.dumps(link.url).encode() in file.read_bytes()


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
        with pytest.raises(QueryFailed):
            provider(name, server.url).fetch(["a"])
        if DIALECTS[name].lists:
            with pytest.raises(QueryFailed):
                list(provider(name, server.url).recent(NOW))
