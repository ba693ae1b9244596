"""What every provider must do with every operation, action and option that its own table promises."""

from dataclasses import replace
from typing import Any

import pytest

from tests.worker.providers.contract import CALLBACK_URL, MARK, provider, send
from tests.worker.providers.dialects import DIALECTS
from tests.worker.providers.loopback import Loopback, hang_up, reply, reset
from tests.worker.providers.operations import every_example, every_operation, every_option, without_example
from worker.errors import AccountBlocked, NotTaken, ProviderError, Rejected, RequestInvalid, Uncertain
from worker.generation import Accepted, GenerationRequest, Operation, Outcome, Status, operation_of
from worker.providers import provider_class


def answer_to(name: str, operation: Operation) -> Any:
    return DIALECTS[name].answers.get(operation, DIALECTS[name].taken)


def posted(name: str, request: GenerationRequest) -> bytes:
    """The one request that a submission sends."""
    with Loopback(reply(200, answer_to(name, request.operation))) as server:
        send(provider(name, server.url), request, MARK)
        port = str(server.port).encode()
    assert len(server.requests) == server.connections == 1
    return server.requests[0].replace(port, b"PORT")


@pytest.mark.parametrize("name", DIALECTS)
def test_every_operation_has_an_example_here(name):
    assert without_example(name) == set()


@pytest.mark.parametrize("name", DIALECTS)
def test_every_action_belongs_to_the_operation_that_names_it(name):
    for operation, capability in provider_class(name).capabilities.items():
        assert {operation_of(action) for action in capability.actions} <= {operation}


@pytest.mark.parametrize("name", DIALECTS)
def test_what_an_operation_needs_is_among_its_options(name):
    for capability in provider_class(name).capabilities.values():
        assert capability.needs <= capability.options.keys()


@pytest.mark.parametrize(("name", "request_"), every_example())
def test_every_operation_is_one_post_that_names_the_callback_url(name, request_):
    dialect = DIALECTS[name]
    with Loopback(reply(200, answer_to(name, request_.operation))) as server:
        result = send(provider(name, server.url), request_, MARK)

    assert server.connections == len(server.requests) == 1
    assert server.requests[0].startswith(b"POST ")
    if request_.operation in dialect.answers:
        assert isinstance(result, Outcome)
        assert (result.status, result.task_id, result.links) == (Status.SUCCEEDED, None, ())
        assert result.text
    else:
        assert result == Accepted(dialect.task_id)
        assert server.bodies[0][dialect.callback_field] == CALLBACK_URL


@pytest.mark.parametrize(("name", "operation"), every_operation())
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        pytest.param(reply(200, b"<html>"), Uncertain, id="HTML"),
        pytest.param(reply(200, []), Uncertain, id="a JSON list"),
        pytest.param(reply(500, {}), Uncertain, id="500"),
        pytest.param(hang_up, Uncertain, id="hang up"),
        pytest.param(reset, Uncertain, id="reset"),
        pytest.param(reply(429, {}), NotTaken, id="429"),
        pytest.param(reply(401, {}), AccountBlocked, id="401"),
        pytest.param(reply(400, {}), Rejected, id="400"),
    ],
)
def test_no_operation_is_posted_again_after_a_failure(name, operation, behaviour, expected):
    with Loopback(behaviour) as server, pytest.raises(ProviderError) as caught:
        send(provider(name, server.url), DIALECTS[name].examples[operation], MARK)

    assert type(caught.value) is expected
    assert server.connections == 1


@pytest.mark.parametrize(("name", "request_", "options"), every_option())
def test_no_option_is_dropped(name, request_, options):
    more = replace(request_, options={**request_.options, **options})

    assert posted(name, more) != posted(name, request_)


@pytest.mark.parametrize(("name", "request_"), every_example())
def test_no_example_could_be_shorter(name, request_):
    """What an operation needs is refused if it is missing, before anything is sent."""
    capability = provider_class(name).capabilities[request_.operation]
    shorter = [
        replace(request_, options={key: value for key, value in request_.options.items() if key != needed})
        for needed in capability.needs
    ]
    shorter += [replace(request_, parent={}), replace(request_, action=None)] if request_.action else []
    for request in shorter:
        with pytest.raises(RequestInvalid):
            provider(name).translate(request)
