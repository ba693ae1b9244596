"""Follow-up expressions: `upscale1,upscale3`, `upscale:all`, or in several steps `upscale:all/zoom_out_2x`. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.errors import RequestInvalid
from worker.generation import Operation, operation_of

_FAMILIES = {operation.value for operation in Operation}


@dataclass(frozen=True, slots=True)
class FollowUp:
    """One follow-up to create: the parent's `action`, and the rest of the expression."""

    action: str
    then: tuple[str, ...]


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
                f"follow-up {item!r}: nothing can follow split, which cuts the images out of the grid here; providers "
                "know nothing of these"
            )
    return items


def expand(items: Sequence[str], offered: Sequence[str], *, limit: int) -> tuple[list[FollowUp], list[str]]:
    """Return the follow-ups to create from the offered actions, at most `limit`, and why others are refused."""
    wanted: dict[str, list[str]] = {}
    refused = []
    for item in items:
        step, _, rest = item.partition("/")
        actions = _matching(step, offered)
        if not actions:
            refused.append(f"{step} is not offered; offered: {', '.join(offered) or 'nothing'}")
        for action in actions:
            wanted.setdefault(action, []).extend([rest] if rest else [])
    refused += [f"{action} would be more than the {limit} follow-ups allowed" for action in list(wanted)[limit:]]
    return [FollowUp(action, tuple(then)) for action, then in list(wanted.items())[:limit]], refused


def steps_of(item: str) -> list[tuple[Operation, str | None]]:
    """Return each step's operation and action (None: all actions) of a parsed item."""
    steps = []
    for step in item.split("/"):
        family, colon, _ = step.partition(":")
        operation = Operation(family) if colon else operation_of(step)
        if operation is not None:
            steps.append((operation, None if colon else step))
    return steps


def _check(step: str, item: str) -> None:
    family, colon, which = step.partition(":")
    if colon and (which != "all" or family not in _FAMILIES):
        raise RequestInvalid(f"follow-up {item!r}: invalid {step!r}; write for example upscale:all")
    if not colon and operation_of(step) is None:
        raise RequestInvalid(
            f"follow-up {item!r}: unknown action {step!r}; write for example upscale1, variation2 or upscale:all"
        )


def _matching(step: str, offered: Sequence[str]) -> list[str]:
    family, colon, _ = step.partition(":")
    if colon:
        return [action for action in offered if operation_of(action) == family]
    return [step] if step in offered else []
