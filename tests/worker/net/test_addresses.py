"""One rule for what is private and what is public, whoever asks."""

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.net import is_private, is_public, read_address


@pytest.mark.parametrize(
    "text",
    [
        "10.1.2.3",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.0.1",
        "::1",
        "fd00::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "198.18.0.7",
        "203.0.113.7",
        "0.0.0.0",
        "240.0.0.1",
        "2001:db8::1",
    ],
)
def test_these_are_private(text: str):
    assert is_private(read_address(text))
    assert not is_public(read_address(text))


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700::1111"])
def test_these_are_public(text: str):
    assert is_public(read_address(text))
    assert not is_private(read_address(text))


@pytest.mark.parametrize("text", ["100.64.0.1", "224.0.0.1", "2002:808:808::1", "2001:2::1"])
def test_these_are_neither(text: str):
    assert not is_public(read_address(text))
    assert not is_private(read_address(text))


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_what_carries_an_address_is_never_public_and_as_private_as_that(address: IPv4Address):
    for form in ("::ffff:", "64:ff9b::"):
        carrier = ip_address(f"{form}{address}")
        assert not is_public(carrier)
        assert is_private(carrier) == is_private(address)
