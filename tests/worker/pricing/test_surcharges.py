"""Options that change a price: how a request says them, and that what is reserved is never less than a price."""

from decimal import Decimal
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from worker.generation import GenerationRequest, Operation
from worker.pricing.prices import MILLION, Prices, Quote, Rule, Tier, tier_of
from worker.pricing.surcharges import highest_known
from worker.prompt_flags import flags_of, plain_version, without_switches

HD, SREF, MOOD = "hd", "style_reference", "moodboard"
PRICE = Rule(price=50_000, provider="acedata")


def extras(prompt: str = "a fox", operation: Operation = Operation.IMAGINE, **options: object) -> tuple[str, ...]:
    return tier_of(GenerationRequest(operation=operation, prompt=prompt, options=options)).extras


@pytest.mark.parametrize(
    ("options", "prompt", "found"),
    [
        ({}, "a fox", ()),
        ({"hd": True, "quality": 4}, "a fox", (HD, "quality=4")),
        ({"hd": "true", "quality": "4"}, "a fox", (HD, "quality=4")),
        ({"hd": False, "quality": "1", "moodboard": "false"}, "a fox", ()),
        ({}, "a fox --hd --q 4", (HD, "quality=4")),
        ({}, "a fox \N{EM DASH}hd --quality=2 --v 7", (HD, "quality=2")),
        ({}, "a fox --Q .25", ("quality=.25",)),
        ({"quality": "2"}, "a fox --q 4", ("quality=4",)),
        ({}, "a fox {--q 1, --q 4}", ("quality=4",)),
        ({}, "a fox --q {1, 2}", ("quality=2",)),
        ({}, "a fox --q 3", ("quality=4",)),
        ({}, "a fox --q 9", ("quality=4",)),
        ({}, "a fox --q high --hdr --quick", ()),
        ({}, "a fox --q", ()),
        ({"style_images": ["https://a.test/1.png"]}, "a fox", (SREF,)),
        ({"style_reference": True}, "a fox --sref 12345", (SREF,)),
        ({}, "a fox --p abc", (MOOD,)),
        ({"images": ["https://a.test/1.png"], "version": "8.0"}, "a fox", (MOOD,)),
        ({"version": "8"}, "https://a.test/1.png a fox", (MOOD,)),
        ({"version": "8"}, "a fox --sref https://a.test/1.png", (SREF,)),
        ({"images": ["https://a.test/1.png"], "version": "8.1"}, "a fox", ()),
        ({"quality": ["4"], "hd": None}, "a fox", ()),
    ],
)
def test_an_option_counts_wherever_the_request_says_it(options: dict[str, object], prompt: str, found: tuple[str, ...]):
    assert extras(prompt, **options) == found


def test_what_draws_no_picture_costs_no_more():
    assert [extras("a fox --hd", one) for one in (Operation.SHORTEN, Operation.UPSCALE)] == [(), ()]
    assert extras("a fox --hd", Operation.VARIATION) == (HD,)


@pytest.mark.parametrize("written", ["8.1", "v8.1", "V 8.1", 8.1, "version 8.1", " 8.1 "])
def test_a_version_is_understood_as_people_write_it(written: object):
    assert (
        tier_of(GenerationRequest(operation=Operation.IMAGINE, prompt="a fox", options={"version": written})).version
        == "8.1"
    )


def test_versions_that_are_no_numbers_stay_what_they_are():
    assert [plain_version(word) for word in ("8.0", "Niji 6", "8.10", "Draft")] == ["8", "niji6", "8.10", "draft"]


def test_the_values_of_parameters_are_read_and_a_switch_has_none():
    assert flags_of("a fox --hd --ar 3:2 --v 8.1") == [("hd", ""), ("ar", "3:2"), ("version", "8.1")]
    assert without_switches("a --turbo fox \N{EM DASH}FAST --turbofox --v 7", ("turbo", "fast")) == (
        "a fox --turbofox --v 7"
    )
    assert without_switches("two  blanks", ("turbo",)) == "two  blanks"


@pytest.mark.parametrize(
    ("tier", "times", "assumed"),
    [
        (Tier(None, "8", (HD, "quality=4")), 16, (HD, "quality=4")),
        (Tier(None, None, (MOOD, SREF)), 16, (MOOD, SREF)),
        (Tier(None, "8.2", ("quality=2",)), 2, ("quality=2",)),
        (Tier(None, "8.1", (HD, SREF)), 4, (HD,)),
        (Tier(None, "niji6", (MOOD, "quality=.5")), 1, ()),
    ],
)
def test_without_a_factor_the_highest_known_one_is_reserved_and_said(tier: Tier, times: int, assumed: tuple[str, ...]):
    assert Prices(rules=(PRICE,)).quote("acedata", "imagine", tier) == Quote(50_000 * times, assumed)
    assert Prices(rules=(PRICE,)).quote("kie", "imagine", tier) == Quote(0)


def test_a_factor_of_the_file_counts_and_the_one_that_says_most_before_others():
    factors = (
        Rule(price=2 * MILLION, extras=frozenset({HD})),
        Rule(price=3_500_000, provider="acedata", version="8", extras=frozenset({HD})),
    )
    prices = Prices(rules=(PRICE,), factors=factors)
    assert prices.quote("acedata", "imagine", Tier(None, "8", (HD,))) == Quote(175_000)
    assert prices.quote("acedata", "imagine", Tier(None, "8.1", (HD,))) == Quote(100_000)
    assert prices.has_factor("acedata", HD)
    assert not prices.has_factor("acedata", SREF)
    assert prices.digest != Prices(rules=(PRICE,)).digest


def test_a_factor_for_another_version_alone_is_no_factor_but_is_not_undercut():
    prices = Prices(
        rules=(PRICE,), factors=(Rule(price=6 * MILLION, provider="acedata", version="8", extras=frozenset({HD})),)
    )
    assert prices.quote("acedata", "imagine", Tier(None, None, (HD,))) == Quote(300_000, (HD,))


def test_a_price_that_names_an_option_is_the_whole_price():
    prices = Prices(rules=(PRICE, Rule(price=80_000, provider="acedata", version="8.1", extras=frozenset({HD}))))
    assert prices.quote("acedata", "imagine", Tier(None, "8.1", (HD,))) == Quote(80_000)
    assert prices.quote("acedata", "imagine", Tier(None, "8.1", (HD, "quality=2"))) == Quote(160_000, ("quality=2",))


def test_a_higher_price_for_an_option_is_not_hidden_by_one_that_says_more_of_something_else():
    rules = (
        Rule(price=100_000, provider="acedata", operation="imagine", speed="turbo"),
        Rule(price=900_000, provider="acedata", extras=frozenset({HD})),
    )
    assert Prices(rules=rules).quote("acedata", "imagine", Tier("turbo", None, (HD,))) == Quote(900_000, (HD,))


def test_what_is_free_stays_free_unless_a_price_names_the_option():
    free = Rule(price=0, provider="acedata", operation="imagine", speed="relax")
    tier = Tier("relax", None, (HD,))
    assert Prices(rules=(free, PRICE)).quote("acedata", "imagine", tier) == Quote(0)
    dear = Rule(price=900_000, provider="acedata", extras=frozenset({HD}))
    assert Prices(rules=(free, dear)).quote("acedata", "imagine", tier) == Quote(900_000, (HD,))


def test_a_part_of_a_millionth_is_rounded_up():
    factor = Rule(price=1_400_001, extras=frozenset({HD}))
    assert Prices(rules=(Rule(price=1),), factors=(factor,)).price("acedata", "imagine", Tier(None, None, (HD,))) == 2


EXTRAS = (HD, MOOD, "quality=.5", "quality=2", "quality=4", SREF)
WORDS = {
    "provider": st.sampled_from((None, "acedata", "kie")),
    "operation": st.sampled_from((None, "imagine")),
    "speed": st.sampled_from((None, "turbo")),
    "version": st.sampled_from((None, "8", "8.1")),
}
PRICES = st.builds(
    Rule, price=st.integers(0, 10**8), **WORDS, extras=st.frozensets(st.sampled_from(EXTRAS), max_size=2)
)
FACTORS = st.builds(
    Rule,
    price=st.integers(0, 8 * MILLION),
    **WORDS,
    extras=st.frozensets(st.sampled_from(EXTRAS), min_size=1, max_size=1),
)
TIERS = st.builds(
    Tier,
    WORDS["speed"],
    st.sampled_from((None, "8", "8.1", "8.2", "niji6")),
    st.sets(st.sampled_from(EXTRAS)).map(lambda found: tuple(sorted(found))),
)


def fits(rule: Rule, tier: Tier) -> bool:
    said = ("acedata", "imagine", tier.speed, tier.version)
    return (
        all(word in {None, one} for word, one in zip(rule.words, said, strict=True)) and set(tier.extras) >= rule.extras
    )


@given(st.lists(PRICES, max_size=4), st.lists(FACTORS, max_size=4), TIERS)
@settings(max_examples=examples(150))
def test_what_is_reserved_is_never_less_than_any_price_of_the_file(rules: list[Rule], factors: list[Rule], tier: Tier):
    """By a slow way of its own: each price that may be meant, times each factor that may be meant."""
    found = Prices(rules=tuple(rules), factors=tuple(factors)).quote("acedata", "imagine", tier)
    assert isinstance(found.amount, int)
    fitting = sorted((rule for rule in rules if fits(rule, tier)), key=lambda rule: -rule.weight)
    # The price that says most; and all that name an extra which nobody gave a factor.
    meant = fitting[:1] + [rule for rule in fitting[1:] if rule.extras.intersection(found.assumed)]
    for rule in meant:
        amount = Decimal(rule.price)
        for extra in set(tier.extras) - rule.extras:
            named = sorted(
                (one for one in factors if fits(one, tier) and extra in one.extras), key=lambda one: -one.weight
            )
            amount *= Decimal(named[0].price) / MILLION if named else highest_known(extra, tier.version)
        assert found.amount >= ceil(amount)
    without = Prices(rules=tuple(rules), factors=tuple(factors)).quote(
        "acedata", "imagine", Tier(tier.speed, tier.version)
    )
    if not factors and not any(rule.extras for rule in rules):
        assert found.amount >= without.amount
