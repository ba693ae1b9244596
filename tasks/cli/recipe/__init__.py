"""The `darkroom recipe` commands: one file per command, imported when it is called."""

import click

from tasks.cli.ui.late_group import Commands, LateGroup

COMMANDS: Commands = {
    "check": ("tasks.cli.recipe.check:check", "Check a recipe file before it is used"),
    "list": ("tasks.cli.recipe.list:list_all", "List the recipes of this installation"),
    "show": ("tasks.cli.recipe.show:show", "Show the steps of a recipe"),
    "draw": ("tasks.cli.recipe.draw:draw", "Draw what a recipe makes in the worst case, with its cost"),
}


@click.group(cls=LateGroup, table=COMMANDS)
def recipe() -> None:
    """Check, list and draw recipes: what follows a success."""
