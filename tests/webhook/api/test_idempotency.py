"""What an idempotency key stands for."""

from typing import Any, cast

from flask import Request
from werkzeug.test import create_environ

from webhook.api.call import LOCAL, Call
from webhook.api.idempotency import once_of
from webhook.api.models.base import RequestModel


class Before(RequestModel):
    prompt: str
    priority: int = 0


class Upgraded(Before):
    new: str | None = None


def digest(body: RequestModel) -> str:
    nothing = cast("Any", None)
    request = Request(create_environ("/v1/generations", method="POST"))
    call = Call(
        here=nothing, shared=nothing, caller=LOCAL, request=request, request_id="req_1", idempotency_key="order-7"
    )
    once = once_of(call, body, is_needed=True)
    assert once is not None
    return once.request_sha256


def test_a_request_that_is_repeated_after_an_upgrade_is_the_same() -> None:
    """Otherwise it is refused as another one, and who then sends it with a new key pays twice."""
    assert (
        digest(Before(prompt="a fox")) == digest(Upgraded(prompt="a fox")) == digest(Before(prompt="a fox", priority=0))
    )
    assert digest(Upgraded(prompt="a fox")) != digest(Upgraded(prompt="a fox", new="x"))
