"""Recipes as people read them."""

from collections.abc import Iterator, Sequence

from worker.recipes import Chooser, Pick, Recipe, Step


def lines_of(recipe: Recipe) -> Iterator[str]:
    yield f"{recipe.name}  ({recipe.sha256[:12]}), at most {recipe.max_depth} deep, {recipe.max_fan_out} per generation"
    yield from _steps(recipe.steps, "  ")


def _steps(steps: Sequence[Step], indent: str) -> Iterator[str]:
    for step in steps:
        yield f"{indent}{step.id}: {in_words(step)}"
        yield from _steps(step.then, f"{indent}  ")


def in_words(step: Step) -> str:
    """`archived imagine → upscale of what a person picks within 3 d, at most 5.00`."""
    when = " or ".join(step.when.operations)
    pick = f" of {_picked(step.pick)}" if step.pick != Pick() else ""
    cost = f", at most {step.max_cost}" if step.max_cost is not None else ""
    return f"{step.after}{f' {when}' if when else ''} → {step.do}{pick}{cost}"


def _picked(pick: Pick) -> str:
    match pick.chooser:
        case Chooser.PERSON:
            return "what a person picks"
        case Chooser.TASK:
            return f"what the task {pick.task} picks"
        case Chooser.RANDOM:
            return f"{pick.count} at random"
        case Chooser.NUMBERS:
            return f"image {', '.join(map(str, pick.numbers))}"
        case Chooser.ALL:
            return "all images"
