"""`darkroom recipe check`: check that a file is a valid recipe."""

from pathlib import Path

import click

from tasks.cli.ui.output import json_option, many, print_json
from tasks.usecases import views
from tasks.usecases.recipes import read_recipe


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def check(ctx: click.Context, path: Path, *, as_json: bool) -> None:
    """Check a recipe file before it is used.

    Reports the first mistake with its line and column. The exit code is 1 if the file is not a valid recipe.
    """
    found = read_recipe(path)
    if as_json:
        print_json(views.of_recipe_file(found))
    elif found.recipe is not None:
        click.echo(f"{path}: a valid recipe with {many(len(list(found.recipe.all_steps)), 'step')}")
    else:
        click.echo(found.mistake, err=True)
    if found.recipe is None:
        ctx.exit(1)
