"""The examples of `deploy/examples` do what they say."""

import base64
import importlib.util
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from tests.worker.subscribers.test_standard_webhooks import SECRET
from worker.recipes import load_recipe
from worker.subscribers import WebhookSigner

EXAMPLES = Path(__file__).parents[1] / "deploy" / "examples"
EVENT = b'{"type":"generation.archived","timestamp":"2026-11-21T12:00:00Z","data":{"key":"sku-1"}}'


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("DARKROOM_NOTIFY_SECRET", SECRET)
    yield load(EXAMPLES / "receiver" / "app.py")
    sys.modules.pop("example_app", None)


def test_the_receiver_takes_what_we_signed_once_and_refuses_the_rest(receiver: ModuleType) -> None:
    client = receiver.app.test_client()
    headers = WebhookSigner(SECRET).headers("evt_1", int(time.time()), EVENT)
    answers = [client.post("/events", data=EVENT, headers=headers).status_code for _ in range(2)]
    assert answers == [204, 204]
    assert receiver.seen == {"evt_1"}
    forged = [
        client.post("/events", data=EVENT + b" ", headers=headers),
        client.post("/events", data=EVENT),
        client.post("/events", data=EVENT, headers=headers | {"webhook-id": "evt_2"}),
        client.post("/events", data=EVENT, headers=WebhookSigner(SECRET).headers("evt_3", 1, EVENT)),
    ]
    assert {answer.status_code for answer in forged} == {401}
    assert receiver.seen == {"evt_1"}


@given(text=st.text(st.characters(exclude_categories=["Cs"])), key=st.binary(min_size=24, max_size=64))
def test_the_public_library_signs_as_we_do_and_accepts_what_we_sign(text: str, key: bytes) -> None:
    secret, now = "whsec_" + base64.b64encode(key).decode(), int(time.time())
    ours = WebhookSigner(f"{SECRET},{secret}").headers("evt_1", now, text.encode())
    theirs = Webhook(secret).sign("evt_1", datetime.fromtimestamp(now, UTC), text)
    assert ours["webhook-signature"].split(" ")[1] == theirs
    assert Webhook(secret).verify(text.encode(), ours, json_parse=False) is None
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(secret).verify(f"{text} ".encode(), ours, json_parse=False)


def test_the_vector_of_the_public_libraries_is_the_same_here_and_there() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    secret, message, body = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        '{"test": 2432232314}',
    )
    signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert Webhook(secret).sign(message, at, body) == signature
    assert WebhookSigner(secret).headers(message, 1614265330, body.encode())["webhook-signature"] == signature


def test_the_downstream_project_knows_its_tasks_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "memory://")
    jobs = load(EXAMPLES / "downstream" / "jobs.py")
    assert {"shop.on_event", "shop.pick"} <= set(jobs.app.tasks)
    assert jobs.app.tasks["shop.pick"]({"approval": {"images": [1, 2, 3, 4]}}) == [1]
    jobs.app.close()


def test_each_recipe_is_one_and_is_told_of() -> None:
    paths = sorted((EXAMPLES / "recipes").glob("*.yaml"))
    assert [load_recipe(path).name for path in paths] == [path.stem for path in paths]
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.rglob("*.*"):
        if path.suffix in {".py", ".yaml"}:
            assert path.relative_to(EXAMPLES).as_posix() in told
