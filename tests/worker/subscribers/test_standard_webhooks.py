"""Signatures, checked as a receiver that has read only the specification would check them."""

import base64
import hmac
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.subscribers.standard_webhooks import WebhookSigner

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdefghijklmnopqrstuv").decode()


def verify(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """The receiver's side of Standard Webhooks 1.0: one of the listed v1 signatures must fit."""
    content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    key = base64.b64decode(secret[len("whsec_") :])
    expected = base64.b64encode(hmac.new(key, content, sha256).digest()).decode()
    versions = (signature.split(",", 1) for signature in headers["webhook-signature"].split(" "))
    return any(version == "v1" and hmac.compare_digest(value, expected) for version, value in versions)


def test_the_example_that_the_reference_libraries_share():
    """From the tests of the libraries of https://github.com/standard-webhooks/standard-webhooks."""
    signer = WebhookSigner("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    assert signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}') == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(body=st.binary(), timestamp=st.integers(0, 2**40), key=st.binary(min_size=24, max_size=64))
def test_a_receiver_accepts_what_was_signed_and_nothing_else(body: bytes, timestamp: int, key: bytes):
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = WebhookSigner(secret).headers("evt_1_18f", timestamp, body)
    assert verify(secret, headers, body)
    assert not verify(secret, headers, body + b" ")
    assert not verify(secret, headers | {"webhook-id": "evt_2_18f"}, body)
    assert not verify(secret, headers | {"webhook-timestamp": str(timestamp + 1)}, body)


def test_while_secrets_are_rotated_either_one_is_enough():
    other = "whsec_" + base64.b64encode(b"vutsrqponmlkjihgfedcba9876543210").decode()
    headers = WebhookSigner(f"{other}, {SECRET}").headers("evt_1_18f", 1, b"{}")
    assert verify(SECRET, headers, b"{}")
    assert verify(other, headers, b"{}")
    assert not verify("whsec_" + base64.b64encode(b"x" * 32).decode(), headers, b"{}")


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "hunter2hunter2",
        SECRET.removeprefix("whsec_"),
        "whsec_" + base64.b64encode(b"hunter2").decode(),
        "whsec_" + base64.b64encode(b"h" * 65).decode(),
        "whsec_hunter2hunter2hunter2hunter2hunter2!",
        "whsec_ä",
        f"{SECRET},",
    ],
)
def test_a_secret_that_is_none_is_refused_without_being_shown(secret: str):
    with pytest.raises(ValueError, match="expected whsec_ and the base64 of 24 to 64 random bytes") as caught:
        WebhookSigner(secret)
    assert not secret or secret not in f"{caught.value}{caught.value.__context__}{caught.value.__cause__}"
