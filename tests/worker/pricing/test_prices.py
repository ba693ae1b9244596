"""What a generation costs: the rule that says most about it, read off its options or its prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.generation import GenerationRequest, Operation
from worker.pricing.prices import MILLION, Caps, Prices, Rule, Tier, as_text, tier_of

ANY = Tier(None, None)
PRICES = Prices(
    rules=(
        Rule(price=1),
        Rule(price=2, provider="kie"),
        Rule(price=3, provider="kie", speed="turbo"),
        Rule(price=4, provider="kie", operation="video"),
        Rule(price=5, provider="kie", operation="video", speed="turbo", version="niji6"),
        Rule(price=0, provider="mjproxy"),
    )
)


@pytest.mark.parametrize(
    ("provider", "operation", "tier", "price"),
    [
        ("acedata", "imagine", ANY, 1),
        ("acedata", "imagine", Tier("turbo", "7"), 1),
        ("kie", "imagine", ANY, 2),
        ("kie", "imagine", Tier("turbo", None), 3),
        ("kie", "imagine", Tier("fast", None), 2),
        ("kie", "video", Tier("fast", "niji6"), 4),
        ("kie", "video", Tier("turbo", "niji6"), 5),
        ("mjproxy", "imagine", ANY, 0),
    ],
)
def test_the_rule_that_says_most_counts(provider: str, operation: str, tier: Tier, price: int) -> None:
    assert PRICES.price(provider, operation, tier) == price


def test_what_no_rule_is_for_costs_nothing() -> None:
    assert Prices().price("kie", "imagine", ANY) == 0
    assert not Prices().knows("kie")
    assert [PRICES.knows(name) for name in ("kie", "mjproxy")] == [True, True]
    assert not Prices(rules=(Rule(price=0, provider="kie"), Rule(price=1, provider="acedata"))).knows("kie")


@pytest.mark.parametrize(
    ("options", "prompt", "speed", "version"),
    [
        ({}, "a red fox", None, None),
        ({"speed": "turbo", "version": "8.1"}, "a red fox", "turbo", "8.1"),
        ({"version": 7}, "a red fox", None, "7"),
        ({}, "a red fox --turbo --v 7", "turbo", "7"),
        ({}, "a red fox \N{EM DASH}relax --version 6.1", "relax", "6.1"),
        ({}, "a red fox --Niji 6 --FAST", "fast", "niji6"),
        ({"version": "Niji 6"}, "a red fox", None, "niji6"),
        ({"speed": "fast"}, "a red fox --turbo", "fast", None),
        ({}, "turbo --turbofox --various --v", None, None),
        ({"speed": ["turbo"], "version": {}}, "a red fox", None, None),
    ],
)
def test_speed_and_version_are_what_the_request_says(
    options: dict[str, object], prompt: str, speed: str | None, version: str | None
) -> None:
    assert tier_of(GenerationRequest(operation=Operation.IMAGINE, prompt=prompt, options=options)) == Tier(
        speed, version
    )


def test_a_batch_has_the_cap_of_its_name_or_that_of_every_batch() -> None:
    caps = Caps(batch=5, batches={"big": 50})
    assert [caps.of_batch(name) for name in ("big", "small", None)] == [50, 5, 5]
    assert Caps(batches={"big": 50}).of_batch("small") is None


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0.00"), (50_000, "0.05"), (12 * MILLION, "12.00"), (12_500, "0.0125"), (1, "0.000001")]
)
def test_amounts_have_two_decimals_or_as_many_as_they_need(amount: int, text: str) -> None:
    assert as_text(amount) == text


@given(st.integers(0, 10**15))
def test_no_millionth_is_lost_in_the_text(amount: int) -> None:
    whole, _, decimals = as_text(amount).partition(".")
    assert int(whole) * MILLION + int(f"{decimals:0<6}") == amount


def test_the_digest_changes_with_the_prices_and_not_with_the_caps() -> None:
    assert Prices(rules=(Rule(price=1),)).digest != Prices(rules=(Rule(price=2),)).digest
    assert Prices(rules=(Rule(price=1),)).digest == Prices(rules=(Rule(price=1),), caps=Caps(day=5)).digest
