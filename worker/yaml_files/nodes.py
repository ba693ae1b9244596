"""Reads a YAML configuration file as nodes: every value stays the text in the file, and every mistake has a position.

YAML's own types would turn `on:` into true, `0012` into ten, and a price into a float.
"""

from collections.abc import Collection
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

import yaml

from worker.errors import ConfigurationError


def compose(path: Path, text: str) -> yaml.Node | None:
    """Return the root; None for an empty file. Raises ConfigurationError, with file, line and column."""
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except RecursionError:
        # `from None` keeps the deep recursion out of the chain of errors.
        raise ConfigurationError(f"{path}: brackets or lists are nested too deeply") from None
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(f"{path}: invalid YAML: an escape for a character that does not exist") from error
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = f", {place(mark)}" if mark else ""
        raise ConfigurationError(f"{path}{where}: invalid YAML: {problem or error}") from error
    return root


def place(mark: yaml.Mark) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


class YamlFile:
    """Reads the nodes of one file; anything invalid is refused with its position."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mapping(self, node: yaml.Node, allowed: Collection[str]) -> dict[str, yaml.Node]:
        """Return the values by name; every name must be among the allowed ones."""
        parts = {}
        for key, value in self.named(node).items():
            name = self.text(key)
            if name not in allowed:
                close = get_close_matches(name, allowed, 1)
                hint = f"did you mean `{close[0]}`?" if close else f"expected one of {', '.join(sorted(allowed))}"
                self.refuse(key, f"unknown key {name!r}; {hint}")
            parts[name] = value
        return parts

    def named(self, node: yaml.Node | None) -> dict[yaml.Node, yaml.Node]:
        """Return the values by the nodes of their names; each name may occur only once."""
        if node is None or _is_empty(node):
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, "expected names with values, such as `day: 20`")
        places: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if first := places.get(self.text(key)):
                self.refuse(key, f"duplicate {self.text(key)!r}: it is already in {place(first.start_mark)}")
            places[self.text(key)] = key
        return dict(node.value)

    def list(self, node: yaml.Node | None, what: str) -> list[yaml.Node]:
        """Return the entries; `what` names them in the error if the node is not a list."""
        if node is None or _is_empty(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.refuse(node, f"expected a list: one {what} per entry, each with a `-` before it")
        return list(node.value)

    @staticmethod
    def is_list(node: yaml.Node) -> bool:
        return isinstance(node, yaml.SequenceNode)

    def text(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
            self.refuse(node, "expected one word or number")
        return str(node.value).strip()

    def one_of(self, node: yaml.Node, words: Collection[str], what: str) -> str:
        text = self.text(node)
        if text not in words:
            self.refuse(node, f"unknown {what} {text!r}; expected one of {', '.join(words)}")
        return text

    def refuse(self, node: yaml.Node, why: str) -> NoReturn:
        raise ConfigurationError(f"{self.path}, {place(node.start_mark)}: {why}")


def _is_empty(node: yaml.Node) -> bool:
    """Return whether a node is empty, like `caps:` when every line below it is commented out."""
    return isinstance(node, yaml.ScalarNode) and node.value == ""
