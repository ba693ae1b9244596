"""`darkroom recipe list`: the recipes of this installation."""

import click

from tasks.cli.ui.context import read_settings
from tasks.cli.ui.output import json_option, many, note, print_json
from tasks.usecases import views
from tasks.usecases.recipes import list_recipes


@click.command("list")
@json_option
def list_all(*, as_json: bool) -> None:
    """List the recipes of this installation: the files in the folder DARKROOM_RECIPES."""
    found = list_recipes(read_settings())
    for one in found:
        if as_json:
            print_json(views.of_recipe_file(one))
        elif one.recipe is not None:
            click.echo(f"{one.recipe.name}  {many(len(list(one.recipe.all_steps)), 'step')}")
        else:
            click.echo(f"{one.path.stem}  invalid: {one.mistake}")
    if not found:
        note("there are no recipes yet: write one as NAME.yaml, or copy deploy/examples/recipes/shop.yaml")
