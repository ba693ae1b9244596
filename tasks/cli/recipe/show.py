"""`darkroom recipe show`: the steps of a recipe."""

import click

from tasks.cli.ui.context import read_settings
from tasks.cli.ui.output import json_option, print_json
from tasks.cli.ui.recipe_text import lines_of
from tasks.usecases import views
from tasks.usecases.recipes import get_recipe


@click.command()
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show the steps of a recipe: what each one follows and does, and its limits."""
    found = get_recipe(read_settings(), name)
    if as_json:
        print_json(views.of_recipe(found))
        return
    for line in lines_of(found):
        click.echo(line)
