"""Recipes as JSON, as the ledger keeps them."""

from collections.abc import Mapping

from pydantic import TypeAdapter

from worker.recipes.recipe import Recipe

_RECIPE = TypeAdapter(Recipe)


def to_document(recipe: Recipe) -> dict[str, object]:
    document: dict[str, object] = _RECIPE.dump_python(recipe, mode="json")
    return document


def from_document(document: Mapping[str, object]) -> Recipe:
    return _RECIPE.validate_python(document)
