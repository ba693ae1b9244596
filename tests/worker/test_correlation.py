"""Callback URLs carry their own proof, and nothing but that proof opens the door."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.correlation import Signer
from worker.errors import ConfigurationError

OLD, NEW = "k1:" + "a" * 32, "k2:" + "b" * 32
ATTEMPT = "0123456789abcdef0123456789abcdef"


def test_a_token_opens_its_own_attempt_only():
    signer = Signer(OLD)
    token = signer.token("acedata", ATTEMPT)
    assert signer.verify("acedata", ATTEMPT, token)
    assert not signer.verify("kie", ATTEMPT, token)
    assert not signer.verify("acedata", ATTEMPT[:-1] + "e", token)


def test_a_token_stays_the_same_for_ever():
    """A provider may call back after an update of Darkroom."""
    assert Signer(OLD).token("acedata", ATTEMPT) == "k1.kAD2P-SaI3pDXOkQN9Q50HXrdsR0HrcMZsH-Kog-t4Q"


def test_the_url_is_the_one_that_the_receiver_listens_on():
    signer = Signer(OLD)
    token = signer.token("acedata", ATTEMPT)
    assert signer.callback_url("https://d.example", "acedata", ATTEMPT) == (
        f"https://d.example/callbacks/acedata/{ATTEMPT}/{token}"
    )


def test_the_first_key_signs_and_all_keys_verify():
    old, both, new = Signer(OLD), Signer(f"{NEW}, {OLD}"), Signer(NEW)
    assert both.token("acedata", ATTEMPT) == new.token("acedata", ATTEMPT)
    assert both.verify("acedata", ATTEMPT, old.token("acedata", ATTEMPT))
    assert not new.verify("acedata", ATTEMPT, old.token("acedata", ATTEMPT))


def test_a_key_cannot_speak_for_another():
    token = Signer(OLD).token("acedata", ATTEMPT)
    assert not Signer(f"{NEW},{OLD}").verify("acedata", ATTEMPT, "k2" + token[2:])
    assert not Signer("k1:" + "c" * 32).verify("acedata", ATTEMPT, token)


@given(st.text(), st.text(), st.text(st.characters()))
def test_no_text_at_all_opens_the_door_or_breaks_it(provider: str, attempt_id: str, token: str):
    signer = Signer(OLD)
    assert signer.verify(provider, attempt_id, token) is (token == signer.token(provider, attempt_id))
    assert not signer.verify(provider, attempt_id, f"k1.{token}")


@pytest.mark.parametrize("token", ["", ".", "k1", "k1.", ".x", "k1.ünï", "k1.\ud800", "k3.x", "k1.x.y"])
def test_a_broken_token_is_refused(token: str):
    assert not Signer(OLD).verify("acedata", ATTEMPT, token)
    assert not Signer(OLD).verify("\ud800", "\ud800", token)


@pytest.mark.parametrize(
    ("token_part", "change"), [(slice(None, -1), ""), (slice(None), "A"), (slice(None), "="), (slice(None), " ")]
)
def test_a_token_that_was_cut_or_grew_is_refused(token_part: slice, change: str):
    signer = Signer(OLD)
    assert not signer.verify("acedata", ATTEMPT, signer.token("acedata", ATTEMPT)[token_part] + change)


@pytest.mark.parametrize(
    "keys", ["", "k1", "k1:short", "a" * 40, f"{OLD},", f"{OLD},x", f"k-1:{'a' * 32}", f"k1:{'a' * 31} b"]
)
def test_wrong_keys_are_refused_without_being_shown(keys: str):
    with pytest.raises(ConfigurationError, match="DARKROOM_SIGNING_KEYS: expected `id:secret`") as caught:
        Signer(keys)
    assert "aaaa" not in str(caught.value)


def test_two_keys_with_one_id_are_refused():
    """Else the second would silently replace the first, and what the first has signed would be refused."""
    with pytest.raises(ConfigurationError, match="DARKROOM_SIGNING_KEYS: two keys have the same id"):
        Signer(f"{OLD},k1:{'c' * 32}")
