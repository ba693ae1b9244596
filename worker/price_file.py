"""The file that DARKROOM_PRICES names (`deploy/prices.example.yaml`), read into prices and caps.

Parsed to nodes and not to values: a price stays the text that was written, never a float, and every complaint can say
its line and column.
"""

import re
from collections.abc import Callable, Collection, Mapping
from itertools import combinations
from pathlib import Path
from typing import NoReturn

import yaml

from worker.errors import ConfigurationError
from worker.generation import Operation
from worker.prices import MILLION, Caps, Prices, Rule, plain_version
from worker.providers import PROVIDERS
from worker.setting_files import read_setting_file

_AMOUNT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,6}))?")
_CURRENCY = re.compile(r"[A-Za-z$€£¥]{1,12}")
_SPEEDS = ("relax", "fast", "turbo")
_NAMES = ("provider", "operation", "speed", "version")


def load_prices(path: Path) -> Prices:
    """Raises ConfigurationError with file, line and column of what cannot be understood."""
    text = read_setting_file("DARKROOM_PRICES", path)
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        # Without the file's own depth in the chain of errors.
        raise ConfigurationError(f"{path}: its brackets or lists are too deep to be read") from None
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(f"{path}: this is no YAML: it names a character that there is not") from error
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f", {_place(mark)}" if mark else ""
        raise ConfigurationError(f"{path}{where}: this is no YAML: {problem or error}") from error
    return Prices() if root is None else _File(path).read(root)


def _place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


class _File:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, root: yaml.Node) -> Prices:
        parts = self._mapping(root, {"currency", "prices", "caps"})
        rules = [(item, self._rule(item)) for item in self._list(parts.get("prices"))]
        self._refuse_ties(rules)
        caps = self._caps(parts["caps"]) if "caps" in parts else Caps()
        currency = self._currency(parts["currency"]) if "currency" in parts else Prices.currency
        return Prices(tuple(rule for _, rule in rules), caps, currency)

    def _rule(self, node: yaml.Node) -> Rule:
        parts = self._mapping(node, {*_NAMES, "price"})
        if "price" not in parts:
            self._refuse(node, "this has no `price`")
        readers: Mapping[str, Callable[[yaml.Node], str]] = {
            "provider": lambda word: self._one_of(word, PROVIDERS, "provider"),
            "operation": lambda word: self._one_of(word, [one.value for one in Operation], "operation"),
            "speed": lambda word: self._one_of(word, _SPEEDS, "speed"),
            "version": lambda word: plain_version(self._text(word)),
        }
        words = {name: readers[name](parts[name]) for name in _NAMES if name in parts}
        return Rule(self._amount(parts["price"]), **words)

    def _refuse_ties(self, rules: list[tuple[yaml.Node, Rule]]) -> None:
        known = {rule.words for _, rule in rules}
        for (first, one), (second, other) in combinations(rules, 2):
            both = _together(one, other)
            # Where a third rule says exactly what both say together, it wins over them and nothing is left open.
            if both is not None and one.weight == other.weight and (one.words == other.words or both not in known):
                what = ", ".join(word for word in both if word) or "everything"
                self._refuse(
                    second,
                    f"this price and that in {_place(first.start_mark)} are both for {what}, and neither says more: "
                    "take one away, or add one that names all of it",
                )

    def _caps(self, node: yaml.Node) -> Caps:
        parts = self._mapping(node, {"day", "providers", "batch", "batches"})
        for name in self._named(parts.get("providers")):
            self._one_of(name, PROVIDERS, "provider")
        amounts = {name: self._amount(parts[name]) if name in parts else None for name in ("day", "batch")}
        by_name = {
            name: {self._text(key): self._amount(value) for key, value in self._named(parts.get(name)).items()}
            for name in ("providers", "batches")
        }
        return Caps(amounts["day"], by_name["providers"], amounts["batch"], by_name["batches"])

    def _amount(self, node: yaml.Node) -> int:
        text = self._text(node)
        found = _AMOUNT.fullmatch(text)
        if not found:
            self._refuse(node, f"{text!r} is no amount: write it like 0.05 or 20, with at most six decimals")
        return int(found[1]) * MILLION + int(f"{found[2] or '':0<6}")

    def _currency(self, node: yaml.Node) -> str:
        text = self._text(node)
        if not _CURRENCY.fullmatch(text):
            self._refuse(node, f"{text!r} is no currency: write one word, such as USD or credits")
        return text

    def _one_of(self, node: yaml.Node, words: Collection[str], what: str) -> str:
        text = self._text(node)
        if text not in words:
            self._refuse(node, f"there is no {what} {text!r}; there are: {', '.join(words)}")
        return text

    def _mapping(self, node: yaml.Node, allowed: Collection[str]) -> dict[str, yaml.Node]:
        parts = {}
        for key, value in self._named(node).items():
            if self._text(key) not in allowed:
                self._refuse(key, f"{self._text(key)!r} means nothing here; there are: {', '.join(sorted(allowed))}")
            parts[self._text(key)] = value
        return parts

    def _named(self, node: yaml.Node | None) -> dict[yaml.Node, yaml.Node]:
        if node is None or _is_empty(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self._refuse(node, "names with values are expected here, such as `day: 20`")
        places: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if first := places.get(self._text(key)):
                self._refuse(key, f"{self._text(key)!r} stands in {_place(first.start_mark)} already")
            places[self._text(key)] = key
        return dict(node.value)

    def _list(self, node: yaml.Node | None) -> list[yaml.Node]:
        if node is None or _is_empty(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._refuse(node, "a list is expected here: one price after the other, each with a `-` before it")
        return list(node.value)

    def _text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self._refuse(node, "one word or number is expected here")
        return str(node.value).strip()

    def _refuse(self, node: yaml.Node, why: str) -> NoReturn:
        raise ConfigurationError(f"{self._path}, {_place(node.start_mark)}: {why}")


def _is_empty(node: yaml.Node) -> bool:
    """`caps:` with nothing behind it, as it is left when every line below is a comment."""
    return isinstance(node, yaml.ScalarNode) and node.value == ""


def _together(one: Rule, other: Rule) -> tuple[str | None, ...] | None:
    """What both rules say of what both are for; None if nothing is for both."""
    pairs = list(zip(one.words, other.words, strict=True))
    if any(mine and theirs and mine != theirs for mine, theirs in pairs):
        return None
    return tuple(mine or theirs for mine, theirs in pairs)
