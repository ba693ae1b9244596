"""What follows a generation: recipes and their short form."""

from worker.recipes.follow_up_expression import as_recipe, parse_follow_ups, steps_of
from worker.recipes.loading import SUFFIX, load_recipe
from worker.recipes.recipe import After, Chooser, Facts, Pick, Recipe, Step, walk
from worker.recipes.recipe_document import from_document, to_document

__all__ = [
    "SUFFIX",
    "After",
    "Chooser",
    "Facts",
    "Pick",
    "Recipe",
    "Step",
    "as_recipe",
    "from_document",
    "load_recipe",
    "parse_follow_ups",
    "steps_of",
    "to_document",
    "walk",
]
