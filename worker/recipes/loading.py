"""Recipe files. The YAML parser is imported only if there are any."""

from pathlib import Path

from worker.recipes.recipe import Recipe

SUFFIX = ".yaml"


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file. Raises ConfigurationError, with file, line and column of the mistake."""
    from worker.recipes.recipe_file import read_recipe  # noqa: PLC0415

    return read_recipe(path)
