"""`darkroom recipe draw`: what a recipe makes in the worst case."""

import click
from rich.tree import Tree

from tasks.cli.ui.context import read_settings
from tasks.cli.ui.options import FirstOperation
from tasks.cli.ui.output import json_option, many, print_json
from tasks.cli.ui.recipe_text import in_words
from tasks.cli.ui.style import console
from tasks.usecases import views
from tasks.usecases.entry_check import DEFAULT_PROVIDER
from tasks.usecases.recipes import Branch, Drawing, draw_recipe
from worker.generation import Operation


@click.command()
@click.argument("name")
@click.option("--provider", default=DEFAULT_PROVIDER, show_default=True, metavar="NAME", help="Provider to use.")
@click.option("--operation", type=FirstOperation(), help="What is submitted.  [default: imagine]")
@json_option
def draw(name: str, *, provider: str, operation: str | None, as_json: bool) -> None:
    """Draw what a recipe makes from one generation in the worst case, with its cost.

    Assumes that every condition that can hold does, and that every person picks all images.
    """
    drawing = draw_recipe(read_settings(), name, provider, Operation(operation or Operation.IMAGINE))
    if as_json:
        print_json(views.of_drawing(drawing))
        return
    tree = Tree(f"{drawing.operation} at {provider}")
    for branch in drawing.branches:
        _grow(tree, branch, drawing)
    console().print(tree)
    cost = f", {drawing.text(drawing.total_amount)}" if drawing.prices else "; no prices are set (DARKROOM_PRICES)"
    click.echo(f"at most {many(drawing.total, 'generation')} after one{cost}")


def _grow(tree: Tree, branch: Branch, drawing: Drawing) -> None:
    cost = "" if branch.amount is None else f", {drawing.text(branch.amount)}"
    what = f"never: {branch.why}" if branch.why else f"≤ {branch.number}{cost}"
    node = tree.add(f"{branch.step.id}: {in_words(branch.step)}  ({what})")
    for child in branch.then:
        _grow(node, child, drawing)
