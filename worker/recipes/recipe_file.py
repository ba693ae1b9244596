"""Reads the recipe files of a folder (DARKROOM_RECIPES); `deploy/recipe.schema.json` describes them for editors."""

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import ConfigurationError
from worker.generation import Operation, operation_of
from worker.recipes.recipe import After, Chooser, Numbers, Pick, Recipe, Step, When
from worker.secrets import read_setting_file
from worker.yaml_files import YamlFile, compose

if TYPE_CHECKING:
    import yaml

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_TIME = re.compile(r"([1-9][0-9]{0,5})\s*(s|min|h|d)")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}
_TASK = re.compile(r"task\s+(?P<task>[\w.:-]+)(?:@(?P<queue>[\w.:-]+))?", re.ASCII)
_RANDOM = re.compile(r"random\s+([1-9][0-9]?)")
_NUMBERS = re.compile(r"[1-9][0-9]?(\s*,\s*[1-9][0-9]?)*")
_COUNT = re.compile(r"(>=|<=)?\s*([0-9]{1,3})")
_AMOUNT = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_PICKS = "all, first, numbers such as 1,3, random 2, task NAME@QUEUE, or person"
#: where Celery looks for tasks unless it is told otherwise
_DEFAULT_QUEUE = "celery"


def read_recipe(path: Path) -> Recipe:
    """Raises ConfigurationError with file, line and column of the mistake."""
    root = compose(path, read_setting_file("DARKROOM_RECIPES", path))
    if root is None:
        raise ConfigurationError(f"{path}: the recipe is empty: give it a `name` and `steps`")
    return _File(path).recipe(root)


class _File(YamlFile):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._ids: set[str] = set()

    def recipe(self, root: "yaml.Node") -> Recipe:
        parts = self.mapping(root, {"name", "steps", "max_depth", "max_fan_out"})
        for name in ("name", "steps"):
            if name not in parts:
                self.refuse(root, f"missing `{name}`")
        name = self._name(parts["name"], "recipe")
        if name != self.path.stem:
            self.refuse(
                parts["name"], f"the recipe is named {name!r}, but its file {self.path.name!r}: rename one of them"
            )
        steps = tuple(self._step(node) for node in self.list(parts["steps"], "step"))
        if not steps:
            self.refuse(parts["steps"], "the recipe has no steps")
        limits = {
            limit: self._number(parts[limit], 1, most) if limit in parts else default
            for limit, default, most in (("max_depth", 3, 10), ("max_fan_out", 16, 100))
        }
        if (depth := _depth(steps)) > limits["max_depth"]:
            self.refuse(
                parts.get("max_depth", root), f"its steps go {depth} deep: set max_depth to {depth}, or remove some"
            )
        return Recipe(name=name, steps=steps, **limits)

    def _step(self, node: "yaml.Node") -> Step:
        for key in self.named(node):
            if self.text(key) == "on":
                self.refuse(key, "unknown key 'on': write `after:`, because YAML parsers read a bare `on` as true")
        parts = self.mapping(node, _STEP_KEYS)
        for name in ("id", "do"):
            if name not in parts:
                self.refuse(node, f"the step has no `{name}`")
        step_id = self._name(parts["id"], "step")
        # Before what follows it is read: an alias of YAML may stand for a step within itself, or for very many.
        if step_id in self._ids:
            self.refuse(parts["id"], f"several steps have the id {step_id!r}: give each step its own")
        self._ids.add(step_id)
        pick = self._pick(parts["pick"]) if "pick" in parts else Pick()
        step = Step(
            id=step_id,
            do=self._do(parts["do"]),
            after=After(self.one_of(parts["after"], list(After), "moment")) if "after" in parts else After.ARCHIVED,
            when=self._when(parts["when"]) if "when" in parts else When(),
            pick=pick,
            timeout=self._time(parts["timeout"]) if "timeout" in parts else None,
            otherwise=self._otherwise(parts["otherwise"]) if "otherwise" in parts else None,
            options=self._options(parts["options"]) if "options" in parts else {},
            prompt=self.text(parts["prompt"]) if "prompt" in parts else None,
            max_cost=self._cost(parts["max_cost"]) if "max_cost" in parts else None,
            then=tuple(self._step(child) for child in self.list(parts.get("then"), "step")),
        )
        self._refuse_contradictions(parts, node, step)
        return step

    def _refuse_contradictions(self, parts: "Mapping[str, yaml.Node]", node: "yaml.Node", step: Step) -> None:
        for name in ("timeout", "otherwise"):
            if name in parts and not step.pick.waits:
                self.refuse(
                    parts[name], f"`{name}` is for a person or a task that picks; `pick` here is {step.pick.chooser}"
                )
        if step.pick.waits and step.timeout is None:
            self.refuse(node, f"a {step.pick.chooser} picks, so the step needs a `timeout`, such as 3d")
        if step.otherwise is not None and step.max_cost is None and step.do != Operation.SPLIT:
            self.refuse(parts["otherwise"], "`otherwise` spends money when nobody picks: limit it with `max_cost`")
        if step.do == Operation.SPLIT and (step.pick != Pick() or step.options or step.prompt is not None):
            self.refuse(node, "split cuts all four images as they are: it takes no `pick`, `options` or `prompt`")
        if step.after is not After.ARCHIVED and step.do == Operation.SPLIT:
            self.refuse(parts["after"], "split needs the grid in the bucket: `after: archived`")
        if step.after is After.FAILED and step.pick != Pick():
            self.refuse(parts["pick"], "after a failure there is nothing to pick")

    def _name(self, node: "yaml.Node", what: str) -> str:
        text = self.text(node)
        if not _NAME.fullmatch(text):
            self.refuse(node, f"invalid {what} name {text!r}: use a to z, 0 to 9, `-` and `_`")
        return text

    def _do(self, node: "yaml.Node") -> str:
        text = self.text(node)
        if text not in set(Operation) and operation_of(text) is None:
            self.refuse(node, f"unknown action {text!r}; write an operation such as split, upscale or video, or an "
                              "action such as upscale1 or zoom_out_2x")  # fmt: skip
        return text

    def _when(self, node: "yaml.Node") -> When:
        parts = self.mapping(node, {"operation", "action", "provider", "option", "label", "assets"})
        operations = self._texts(parts["operation"]) if "operation" in parts else ()
        for operation in operations:
            if operation not in set(Operation):
                self.refuse(
                    parts["operation"], f"unknown operation {operation!r}; expected one of {', '.join(Operation)}"
                )
        return When(
            operations=operations,
            actions=self._texts(parts["action"]) if "action" in parts else (),
            providers=self._texts(parts["provider"]) if "provider" in parts else (),
            options=self._values(parts.get("option")),
            labels=self._values(parts.get("label")),
            images=self._count(parts["assets"]) if "assets" in parts else None,
        )

    def _values(self, node: "yaml.Node | None") -> dict[str, tuple[str, ...]]:
        return {self.text(name): self._texts(value) for name, value in self.named(node).items()}

    def _options(self, node: "yaml.Node") -> dict[str, str | tuple[str, ...]]:
        found: dict[str, str | tuple[str, ...]] = {}
        for name, value in self.named(node).items():
            found[self.text(name)] = self._texts(value) if self.is_list(value) else self.text(value)
        return found

    def _texts(self, node: "yaml.Node") -> tuple[str, ...]:
        if self.is_list(node):
            return tuple(self.text(one) for one in self.list(node, "value"))
        return (self.text(node),)

    def _count(self, node: "yaml.Node") -> Numbers:
        text = self.text(node)
        match = _COUNT.fullmatch(text)
        if match is None:
            self.refuse(node, f"invalid number of assets {text!r}: write 4, >=2 or <=4")
        sign, number = match[1], int(match[2])
        return Numbers(least=0 if sign == "<=" else number, most=None if sign == ">=" else number)

    def _pick(self, node: "yaml.Node") -> Pick:
        text = ",".join(self._texts(node)) if self.is_list(node) else self.text(node)
        if (pick := _read_pick(text)) is None:
            self.refuse(node, f"invalid pick {text!r}; write {_PICKS}")
        return pick

    def _otherwise(self, node: "yaml.Node") -> Pick | None:
        if self.text(node) == "none":
            return None
        pick = self._pick(node)
        if pick.waits:
            self.refuse(node, "`otherwise` is what happens when nobody picks: none, all, first, numbers or random")
        return pick

    def _time(self, node: "yaml.Node") -> timedelta:
        text = self.text(node)
        match = _TIME.fullmatch(text)
        if match is None:
            self.refuse(node, f"invalid time {text!r}: write it like 45min, 12h or 3d")
        return timedelta(seconds=int(match[1]) * _UNITS[match[2]])

    def _cost(self, node: "yaml.Node") -> Decimal:
        text = self.text(node)
        if not _AMOUNT.fullmatch(text):
            self.refuse(node, f"invalid amount {text!r}: write it like 0.05 or 20, with at most six decimals")
        return Decimal(text)

    def _number(self, node: "yaml.Node", least: int, most: int) -> int:
        text = self.text(node)
        if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
            self.refuse(node, f"expected a number from {least} to {most}, not {text!r}")
        return int(text)


_STEP_KEYS = {
    *("id", "after", "when", "do", "pick", "timeout", "otherwise", "options", "prompt", "max_cost", "then"),
}


def _read_pick(text: str) -> Pick | None:
    if text in {"all", "person"}:
        return Pick(chooser=Chooser(text))
    if text == "first":
        return Pick(chooser=Chooser.NUMBERS, numbers=(1,))
    if _NUMBERS.fullmatch(text):
        numbers = (int(number) for number in text.split(","))
        return Pick(chooser=Chooser.NUMBERS, numbers=tuple(dict.fromkeys(numbers)))
    if match := _RANDOM.fullmatch(text):
        return Pick(chooser=Chooser.RANDOM, count=int(match[1]))
    if match := _TASK.fullmatch(text):
        return Pick(chooser=Chooser.TASK, task=match["task"], queue=match["queue"] or _DEFAULT_QUEUE)
    return None


def _depth(steps: tuple[Step, ...]) -> int:
    return 1 + max(map(_depth, (step.then for step in steps))) if steps else 0
