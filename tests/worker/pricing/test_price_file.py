"""The price file: what a person wrote is read exactly, and each mistake is named with its line and column."""

from pathlib import Path

import pytest

from worker.errors import ConfigurationError
from worker.pricing.price_file import load_prices
from worker.pricing.prices import Caps, Prices, Rule
from worker.providers import PROVIDERS
from worker.settings.settings import Settings

EXAMPLE = Path(__file__).parents[3] / "deploy" / "prices.example.yaml"


def load(folder: Path, text: str | bytes) -> Prices:
    path = folder / "prices.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_prices(path, PROVIDERS)


def test_prices_and_caps_are_read_to_the_millionth(tmp_path: Path) -> None:
    text = """
currency: credits
prices:
  - price: 0.1
  - {provider: kie, operation: video, speed: turbo, version: Niji 6, price: "12.000001"}
caps:
  day: 20
  providers: {kie: 7.5}
  batch: 1
  batches: {autumn: 3, 2026: 4}
  labels: {client: {acme: 50, "*": 2.5}}
"""
    caps = Caps(
        day=20_000_000,
        providers={"kie": 7_500_000},
        batch=1_000_000,
        batches={"autumn": 3_000_000, "2026": 4_000_000},
        labels={"client": {"acme": 50_000_000, "*": 2_500_000}},
    )
    rules = (
        Rule(price=100_000),
        Rule(price=12_000_001, provider="kie", operation="video", speed="turbo", version="niji6"),
    )
    assert load(tmp_path, text) == Prices(rules=rules, caps=caps, currency="credits")


def test_prices_and_factors_name_options(tmp_path: Path) -> None:
    text = """
prices:
  - {provider: acedata, version: v8.1, hd: true, quality: 0.5, price: 1}
  - {provider: acedata, version: 8.0, style_reference: True, factor: 4}
  - {moodboard: true, factor: 1.25}
"""
    prices = load(tmp_path, text)
    assert prices.rules == (
        Rule(price=1_000_000, provider="acedata", version="8.1", extras=frozenset({"hd", "quality=.5"})),
    )
    assert prices.factors == (
        Rule(price=4_000_000, provider="acedata", version="8", extras=frozenset({"style_reference"})),
        Rule(price=1_250_000, extras=frozenset({"moodboard"})),
    )


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "prices:\ncaps:\n", "currency: USD\n"])
def test_what_is_left_out_costs_nothing_and_has_no_cap(tmp_path: Path, text: str) -> None:
    assert load(tmp_path, text) == Prices()


def test_the_example_is_understood() -> None:
    prices = load_prices(EXAMPLE, PROVIDERS)
    assert prices.rules
    assert prices.caps.batches


RULE = "prices:\n  - {provider: kie, price: 0.05}\n"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("prices: [", "line 1, column 10", "invalid YAML"),
        ("- 1\n", "line 1, column 1", "expected names with values"),
        ("caps:\n  weekly: 5\n", "line 2, column 3", "unknown key 'weekly'; expected one of batch, batches, day"),
        ("prices:\n  - {provider: kie}\n", "line 2, column 5", "missing `price`"),
        (RULE + "  - {provider: kei, price: 1}\n", "line 3, column 16", "unknown provider 'kei'; expected one of "),
        ("caps:\n  labels: {Client: {a: 1}}\n", "line 2, column 12", "invalid label name 'Client': use a to z"),
        ("caps:\n  labels: {client: 5}\n", "line 2, column 20", "expected names with values"),
        ("caps:\n  providers: {kei: 1}\n", "line 2, column 15", "unknown provider 'kei'"),
        (RULE + "  - {operation: draw, price: 1}\n", "line 3, column 17", "unknown operation 'draw'"),
        (RULE + "  - {speed: warp, price: 1}\n", "line 3, column 13", "unknown speed 'warp'"),
        ("prices:\n  - price: 1,50\n", "line 2, column 12", "invalid amount '1,50'"),
        ("prices:\n  - price: -1\n", "line 2, column 12", "invalid amount '-1'"),
        ("prices:\n  - price: 0.0000001\n", "line 2, column 12", "at most six decimals"),
        ("prices:\n  - price: 1e3\n", "line 2, column 12", "invalid amount"),
        ("prices:\n  - price: .inf\n", "line 2, column 12", "invalid amount"),
        ("prices:\n  - price: [1]\n", "line 2, column 12", "expected one word or number"),
        ("prices:\n  - price:\n", "line 2, column 11", "expected one word or number"),
        ("prices:\n  - {hd: false, price: 1}\n", "line 2, column 10", "write `hd: true`, or leave it out"),
        ("prices:\n  - {hd: 4, price: 1}\n", "line 2, column 10", "invalid value '4'"),
        ("prices:\n  - {quality: 1, price: 1}\n", "line 2, column 15", "it is the default, so leave it out"),
        ("prices:\n  - {quality: 3, price: 1}\n", "line 2, column 15", "expected one of .25, .5, 2, 4"),
        ("prices:\n  - {quality: high, price: 1}\n", "line 2, column 15", "no price for quality 'high'"),
        ("prices:\n  - {version: 8, factor: 4}\n", "line 2, column 5", "a factor applies to exactly one of hd,"),
        (
            "prices:\n  - {hd: true, quality: 4, factor: 16}\n",
            "line 2, column 5",
            "a factor applies to exactly one of hd,",
        ),
        ("prices:\n  - {hd: true, factor: 4x}\n", "line 2, column 24", "invalid amount '4x'"),
        ("prices:\n  - {hd: true, price: 1, factor: 4}\n", "line 2, column 34", "a `price` is the whole price"),
        ("prices:\n  - {price: 99999999}\n", "line 2, column 5", "this exceeds the limit of a thousand million"),
        ("prices: {provider: kie}\n", "line 1, column 9", "expected a list"),
        ("caps:\n  day: 1\n  day: 2\n", "line 3, column 3", "duplicate 'day': it is already in line 2, column 3"),
        ("currency: U S D\n", "line 1, column 11", "invalid currency"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / 'prices.yaml'}, {place}: ")
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{provider: kie, price: 1}", "{provider: kie, price: 1}"),
        ("{price: 1}", "{price: 2}"),
        ("{provider: kie, price: 1}", "{speed: turbo, price: 2}"),
        ("{provider: kie, operation: video, price: 1}", "{provider: kie, speed: turbo, price: 2}"),
        ("{hd: true, price: 1}", "{quality: 4, price: 2}"),
        ("{provider: kie, hd: true, factor: 1}", "{version: 7, hd: true, factor: 2}"),
    ],
)
def test_two_prices_for_the_same_are_refused_with_both_places(tmp_path: Path, first: str, second: str) -> None:
    with pytest.raises(ConfigurationError, match=r"line 4, column 5: this price and the one in line 2, column 5"):
        load(tmp_path, f"prices:\n  - {first}\n  # and\n  - {second}\n")


def test_what_never_meets_is_no_tie(tmp_path: Path) -> None:
    lines = [
        "{quality: 2, price: 1}",
        "{quality: 4, price: 2}",
        "{hd: true, factor: 2}",
        "{moodboard: true, factor: 2}",
    ]
    assert len(load(tmp_path, "prices:\n" + "".join(f"  - {line}\n" for line in lines)).factors) == 2


def test_a_third_price_that_names_all_of_it_decides_between_two(tmp_path: Path) -> None:
    text = """
prices:
  - {provider: kie, price: 1}
  - {speed: turbo, price: 2}
  - {provider: kie, speed: turbo, price: 3}
  - {provider: acedata, operation: imagine, price: 4}
  - {provider: acedata, operation: video, price: 5}
  - {provider: acedata, speed: turbo, operation: imagine, price: 6}
  - {provider: acedata, speed: turbo, price: 7}
  - {provider: acedata, speed: turbo, operation: video, price: 8}
"""
    with pytest.raises(ConfigurationError, match="both apply to kie, imagine"):
        load(tmp_path, text + "  - {operation: imagine, price: 9}\n")
    assert len(load(tmp_path, text + "  - {provider: acedata, price: 9}\n").rules) == 9


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"\xff", "it is not UTF-8 text")]
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"DARKROOM_PRICES: cannot read .*prices.yaml: {reason}"):
        load_prices(tmp_path / "prices.yaml", PROVIDERS) if content is None else load(tmp_path, content)


def test_characters_that_yaml_does_not_allow_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="invalid YAML"):
        load(tmp_path, "currency: \x07\n")


def test_the_setting_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().read_prices(PROVIDERS) is None
    load(tmp_path, RULE)
    monkeypatch.setenv("DARKROOM_PRICES", str(tmp_path / "prices.yaml"))
    assert Settings().read_prices(PROVIDERS) == Prices(rules=(Rule(price=50_000, provider="kie"),))
