"""Each adapter against its pretend provider: every endpoint of the vendors' tables, every action, every option."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3

from tests.patience import patient, wait_for
from tests.worker.providers.contract import send
from tests.worker.providers.dialects import DIALECTS
from tests.worker.providers.loopback import refused_port
from tests.worker.providers.operations import FILE, every_option
from webhook import sandbox
from worker.generation import Accepted, GenerationRequest, Operation, Outcome, Status, operation_of
from worker.providers import Mark, Provider, load_provider
from worker.providers.capability import Prompt
from worker.providers.connection import FreshConnections

#: callbacks are refused at once
MARK = Mark("0123abcd", f"http://127.0.0.1:{refused_port()}/callbacks/vendor/0123abcd/k1.token")
TASKS = ("fetch", "list", "list-by-condition")
#: the last part of each path, by provider, settings, and a word that chooses the program behind the same API
ENDPOINTS: list[tuple[str, dict[str, Any], str, tuple[str, ...]]] = [
    ("acedata", {}, "", ("imagine", "edits", "videos", "describe", "translate", "seed", "shorten", "tasks")),
    *(
        (
            "kie",
            {"kie_vary_base": base},
            "",
            (
                *("generate", "generateUpscale", "generateVary", "generateVideoExtend"),
                *("record-info", "credit", "download-url"),
            ),
        )
        for base in (0, 1)
    ),
    *(
        (
            "ohmygpt",
            {"ohmygpt_encoding": encoding},
            "",
            ("imagine", "action", "blend", "describe", "query", "query-mj-tasks"),
        )
        for encoding in ("form", "json")
    ),
    ("mjproxy", {}, "proxy:csharp", ("imagine", "action", "modal", "blend", "describe", *TASKS)),
    ("mjproxy", {}, "proxy:relay", ("imagine", "action", "modal", "blend", "describe", *TASKS)),
    *(
        ("mjproxy", {"mjproxy_change": change}, "proxy:java", ("imagine", change, "blend", "describe", *TASKS))
        for change in ("change", "simple-change")
    ),
]


@pytest.fixture(scope="module")
def pretended() -> Iterator[sandbox.Sandbox]:
    with sandbox.running(delay=0.01, size=16) as running:
        yield running


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The last part of the path of every request."""
    ends = set()
    send = FreshConnections.send

    def noting(adapter: FreshConnections, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        ends.add(urlsplit(str(request.url)).path.rpartition("/")[2])
        return send(adapter, request, **more)

    monkeypatch.setattr(FreshConnections, "send", noting)
    return ends


def vendor_at(name: str, pretended: sandbox.Sandbox, more: dict[str, Any]) -> Provider:
    return load_provider(name, DIALECTS[name].settings(pretended.url).model_copy(update=more))


def with_real_pictures(request: GenerationRequest) -> GenerationRequest:
    """The files of the dialects' examples hold no picture, and a mask is read."""

    def real(value: Any) -> Any:
        if isinstance(value, list):
            return [real(item) for item in value]
        return FILE if isinstance(value, str) and value.startswith("data:") else value

    return replace(request, options={name: real(value) for name, value in request.options.items()})


def made(vendor: Provider, wanted: Iterable[GenerationRequest]) -> list[Outcome]:
    """The successes that become of these requests."""
    replies = [send(vendor, with_real_pictures(request), MARK) for request in wanted]
    return [finished(vendor, reply.task_id) if isinstance(reply, Accepted) else reply for reply in replies]


def finished(vendor: Provider, task_id: str) -> Outcome:
    def ended() -> Outcome | None:
        outcome = vendor.fetch([task_id]).get(task_id)
        return None if outcome is None or outcome.status is Status.IN_PROGRESS else outcome

    outcome = wait_for(ended, 10)
    assert outcome is not None, f"{task_id} has no end"
    assert outcome.status is Status.SUCCEEDED, outcome
    return outcome


def follow_ups(vendor: Provider, parents: Iterable[Outcome], seen: set[str]) -> Iterator[GenerationRequest]:
    """One request for each action that these offer and that was not seen before."""
    for parent in parents:
        for action in parent.actions:
            operation = operation_of(action)
            assert operation in vendor.capabilities, f"{action} is offered and cannot be asked for"
            if action not in seen:
                seen.add(action)
                capability = vendor.capabilities[operation]
                prompt = "" if capability.prompt is Prompt.UNUSED else "a dog"
                yield GenerationRequest(
                    operation=operation,
                    prompt=prompt,
                    options=dict.fromkeys(capability.needs, FILE),
                    action=action,
                    parent=parent.parent,
                )


@pytest.mark.parametrize(
    ("name", "more", "word", "endpoints"),
    [pytest.param(*row, id=" ".join((row[0], *map(str, row[1].values()), row[2])).strip()) for row in ENDPOINTS],
)
def test_every_endpoint_takes_what_the_adapter_sends(
    pretended: sandbox.Sandbox, asked: set[str], name: str, more: dict[str, Any], word: str, endpoints: tuple[str, ...]
) -> None:
    vendor = vendor_at(name, pretended, more)
    began = datetime.now(UTC) - timedelta(minutes=1)
    first = [one for one in DIALECTS[name].examples.values() if one.action is None]
    outcomes = made(vendor, (replace(one, prompt=f"{one.prompt} {word}".strip()) for one in first))
    seen: set[str] = set()
    parents = outcomes
    while wanted := list(follow_ups(vendor, parents, seen)):
        parents = made(vendor, wanted)
    grid = outcomes[first.index(DIALECTS[name].examples[Operation.IMAGINE])]
    if DIALECTS[name].lists:
        assert grid.task_id in [task.outcome.task_id for task in vendor.recent(began)]
    vendor.fetch([str(grid.task_id), "8498455807619990"])
    vendor.renew(grid.links[0])
    vendor.credit()

    assert {"upscale1", "upscale4", "variation1", "variation4"} <= seen
    assert asked == set(endpoints)


@pytest.mark.parametrize(
    ("name", "request_", "options"), [one for one in every_option() if one.values[1].action is None]
)
def test_every_option_is_taken_as_the_adapter_sends_it(
    pretended: sandbox.Sandbox, name: str, request_: GenerationRequest, options: dict[str, Any]
) -> None:
    vendor = vendor_at(name, pretended, {})
    request = with_real_pictures(replace(request_, options={**request_.options, **options}))

    assert send(vendor, request, MARK)


@pytest.mark.parametrize("setting", ["flag", "path", "filter"])
def test_a_relay_understands_the_speed_however_it_is_chosen(pretended: sandbox.Sandbox, setting: str):
    vendor = vendor_at("mjproxy", pretended, {"mjproxy_speed": setting})
    submission = send(
        vendor,
        GenerationRequest(operation=Operation.IMAGINE, prompt="a cat proxy:relay", options={"speed": "turbo"}),
        MARK,
    )
    assert isinstance(submission, Accepted)
    with urllib3.PoolManager() as http:
        notes = http.request("GET", f"{pretended.url}/sandbox/log?kind=submit", timeout=patient(8)).json()
    (note,) = (one for one in notes if one.get("task_id") == submission.task_id)
    assert note["speed"] == "turbo"
    # The task is found without the path, too.
    assert submission.task_id in vendor.fetch([submission.task_id])
