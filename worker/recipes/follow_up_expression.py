"""Follow-up expressions: `upscale1,upscale3`, `upscale:all`, or in several steps `upscale:all/zoom_out_2x`. Pure."""

from collections.abc import Sequence

from worker.errors import RequestInvalid
from worker.generation import Operation, operation_of
from worker.recipes.recipe import Recipe, Step

_FAMILIES = {operation.value for operation in Operation}


def parse_follow_ups(text: str, *, max_depth: int, max_follow_ups: int) -> tuple[str, ...]:
    """Split and check an expression; raises RequestInvalid with the invalid item."""
    items = tuple(dict.fromkeys(item.strip() for item in text.split(",") if item.strip()))
    if len(items) > max_follow_ups:
        raise RequestInvalid(f"{len(items)} follow-ups are more than the {max_follow_ups} allowed for one generation")
    for item in items:
        steps = item.split("/")
        if len(steps) > max_depth:
            raise RequestInvalid(f"follow-up {item!r} goes {len(steps)} steps deep; at most {max_depth} are allowed")
        for step in steps:
            _check(step, item)
        if Operation.SPLIT in steps[:-1]:
            raise RequestInvalid(
                f"follow-up {item!r}: nothing can follow split: it cuts the images out of the grid here, and "
                "providers do not know them"
            )
    return items


def as_recipe(items: Sequence[str], offered: Sequence[str], *, max_fan_out: int) -> tuple[Recipe, list[str]]:
    """Return the recipe that a parsed expression is short for, and why items have no step in it.

    A step is for one of the actions that a result offers, and has its item as its id; what follows it stays behind the
    slash of that.
    """
    steps, refused = [], []
    for item in items:
        asked = item.partition("/")[0]
        actions = _matching(asked, offered)
        steps += [Step(id=item, do=action) for action in actions]
        if not actions:
            refused.append(f"{asked} is not offered; offered: {', '.join(offered) or 'nothing'}")
    return Recipe(name="follow-up", steps=tuple(steps), max_depth=1, max_fan_out=max_fan_out), refused


def steps_of(item: str) -> list[tuple[Operation, str | None]]:
    """Return each step's operation and action (None: all actions) of a parsed item."""
    steps = []
    for step in item.split("/"):
        family, colon, _ = step.partition(":")
        operation = Operation(family) if colon else operation_of(step)
        if operation is not None:
            steps.append((operation, None if colon else step))
    return steps


def _matching(asked: str, offered: Sequence[str]) -> list[str]:
    family, colon, _ = asked.partition(":")
    if colon:
        return [action for action in offered if operation_of(action) == family]
    return [asked] if asked in offered else []


def _check(step: str, item: str) -> None:
    family, colon, which = step.partition(":")
    if colon and (which != "all" or family not in _FAMILIES):
        raise RequestInvalid(f"follow-up {item!r}: invalid {step!r}; write for example upscale:all")
    if not colon and operation_of(step) is None:
        raise RequestInvalid(
            f"follow-up {item!r}: unknown action {step!r}; write for example upscale1, variation2 or upscale:all"
        )
