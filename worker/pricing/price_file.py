"""Reads the price file (DARKROOM_PRICES, see `deploy/prices.example.yaml`) into prices and caps.

Parsed to nodes, not values: a price stays the text in the file, never a float, and every error has its line and
column.
"""

import re
from collections.abc import Callable, Collection, Mapping
from itertools import combinations
from math import prod
from pathlib import Path

import yaml

from worker.generation import Operation
from worker.pricing.prices import MILLION, Caps, Prices, Rule, read_amount
from worker.pricing.surcharges import LEVELS, SPEEDS, SWITCHES, highest_known
from worker.prompt_flags import plain_version
from worker.secrets import read_setting_file
from worker.yaml_files import YamlFile, compose, place

_LABEL = re.compile(r"[a-z0-9_.-]{1,63}")
_CURRENCY = re.compile(r"[A-Za-z$€£¥]{1,12}")
_NAMES = ("provider", "operation", "speed", "version")
_EXTRAS = (*SWITCHES, "quality")
#: in millionths: what the columns of the ledger hold, with room for thousands of them in one budget
_MOST = 10**15


def load_prices(path: Path, providers: Collection[str]) -> Prices:
    """Return prices and caps for these providers only.

    Raises ConfigurationError with file, line and column of the mistake.
    """
    text = read_setting_file("DARKROOM_PRICES", path)
    root = compose(path, text)
    return Prices() if root is None else _File(path, providers).read(root)


class _File(YamlFile):
    def __init__(self, path: Path, providers: Collection[str]) -> None:
        super().__init__(path)
        self._providers = providers

    def read(self, root: yaml.Node) -> Prices:
        parts = self.mapping(root, {"currency", "prices", "caps"})
        prices: list[tuple[yaml.Node, Rule]] = []
        factors: list[tuple[yaml.Node, Rule]] = []
        for node in self.list(parts.get("prices"), "price"):
            is_factor, rule = self._rule(node)
            (factors if is_factor else prices).append((node, rule))
        self._refuse_ties(prices)
        for extra in {extra for _, rule in factors for extra in rule.extras}:
            self._refuse_ties([(node, rule) for node, rule in factors if extra in rule.extras])
        self._refuse_too_much(prices, factors)
        caps = self._caps(parts["caps"]) if "caps" in parts else Caps()
        currency = self._currency(parts["currency"]) if "currency" in parts else Prices.currency
        return Prices(
            rules=tuple(rule for _, rule in prices),
            caps=caps,
            currency=currency,
            factors=tuple(rule for _, rule in factors),
        )

    def _rule(self, node: yaml.Node) -> tuple[bool, Rule]:
        """Whether it is a factor, and the rule."""
        parts = self.mapping(node, {*_NAMES, *_EXTRAS, "price", "factor"})
        if "price" not in parts and "factor" not in parts:
            self.refuse(node, "missing `price`, or a `factor` by which an option multiplies the price")
        if "price" in parts and "factor" in parts:
            self.refuse(parts["factor"], "a `price` is the whole price: give either a `price` or a `factor`")
        readers: Mapping[str, Callable[[yaml.Node], str]] = {
            "provider": lambda word: self.one_of(word, self._providers, "provider"),
            "operation": lambda word: self.one_of(word, [one.value for one in Operation], "operation"),
            "speed": lambda word: self.one_of(word, SPEEDS, "speed"),
            "version": lambda word: plain_version(self.text(word)),
        }
        words = {name: readers[name](parts[name]) for name in _NAMES if name in parts}
        extras = frozenset(self._extra(name, parts[name]) for name in _EXTRAS if name in parts)
        if "factor" in parts and len(extras) != 1:
            self.refuse(
                node,
                f"a factor applies to exactly one of {', '.join(_EXTRAS)}; several factors are multiplied, and a "
                "combination with another price needs a `price` of its own",
            )
        is_factor = "factor" in parts
        return is_factor, Rule(price=self._amount(parts["factor" if is_factor else "price"]), **words, extras=extras)

    def _extra(self, name: str, node: yaml.Node) -> str:
        text = self.text(node)
        if name != "quality":
            if text.lower() != "true":
                self.refuse(node, f"invalid value {text!r}: write `{name}: true`, or leave it out for all others")
            return name
        try:
            level = LEVELS[float(text)]
        except (KeyError, ValueError):
            why = ": it is the default, so leave it out" if text in {"1", "1.0"} else ""
            self.refuse(node, f"no price for quality {text!r}{why}; expected one of {', '.join(LEVELS.values())}")
        return f"quality={level}"

    def _refuse_ties(self, rules: list[tuple[yaml.Node, Rule]]) -> None:
        known = {(rule.words, rule.extras) for _, rule in rules}
        for (first, one), (second, other) in combinations(rules, 2):
            both = _together(one, other)
            # Where a third rule says exactly what both say together, it wins over them and nothing is left open.
            is_same = (one.words, one.extras) == (other.words, other.extras)
            if both is not None and one.weight == other.weight and (is_same or both not in known):
                what = ", ".join((*(word for word in both[0] if word), *sorted(both[1]))) or "everything"
                self.refuse(
                    second,
                    f"this price and the one in {place(first.start_mark)} both apply to {what}, equally specific: "
                    "remove one, or add a price for the exact combination",
                )

    def _refuse_too_much(self, prices: list[tuple[yaml.Node, Rule]], factors: list[tuple[yaml.Node, Rule]]) -> None:
        """The ledger could not count it."""
        highest = {extra: highest_known(extra, None) * MILLION for extra in (*SWITCHES, "quality=4")}
        for _, rule in factors:
            for extra in rule.extras:
                name = "quality=4" if extra.startswith("quality") else extra
                highest[name] = max(highest[name], rule.price)
        worst = prod(highest.values())
        for node, rule in prices:
            if rule.price * worst > _MOST * MILLION ** len(highest):
                self.refuse(node, "with all factors together this exceeds the limit of a thousand million")

    def _caps(self, node: yaml.Node) -> Caps:
        parts = self.mapping(node, {"day", "providers", "batch", "batches", "labels"})
        for name in self.named(parts.get("providers")):
            self.one_of(name, self._providers, "provider")
        amounts = {name: self._amount(parts[name]) if name in parts else None for name in ("day", "batch")}
        by_name = {name: self._by_name(parts.get(name)) for name in ("providers", "batches")}
        labels: dict[str, dict[str, int]] = {}
        for label, values in self.named(parts.get("labels")).items():
            word = self.text(label)
            if not _LABEL.fullmatch(word):
                self.refuse(label, f"invalid label name {word!r}: use a to z, 0 to 9, `_`, `.` and `-`")
            labels[word] = self._by_name(values)
        return Caps(
            day=amounts["day"],
            providers=by_name["providers"],
            batch=amounts["batch"],
            batches=by_name["batches"],
            labels=labels,
        )

    def _by_name(self, node: yaml.Node | None) -> dict[str, int]:
        return {self.text(key): self._amount(value) for key, value in self.named(node).items()}

    def _amount(self, node: yaml.Node) -> int:
        text = self.text(node)
        amount = read_amount(text)
        if amount is None:
            self.refuse(node, f"invalid amount {text!r}: write it like 0.05 or 20, with at most six decimals")
        return amount

    def _currency(self, node: yaml.Node) -> str:
        text = self.text(node)
        if not _CURRENCY.fullmatch(text):
            self.refuse(node, f"invalid currency {text!r}: write one word, such as USD or credits")
        return text


def _together(one: Rule, other: Rule) -> tuple[tuple[str | None, ...], frozenset[str]] | None:
    """What both rules say of what both are for; None if nothing is for both."""
    pairs = list(zip(one.words, other.words, strict=True))
    extras = one.extras | other.extras
    if any(mine and theirs and mine != theirs for mine, theirs in pairs):
        return None
    if sum(extra.startswith("quality") for extra in extras) > 1:
        return None
    return tuple(mine or theirs for mine, theirs in pairs), extras
