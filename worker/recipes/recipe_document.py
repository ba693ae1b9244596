"""Recipes as JSON, as stored in the ledger."""

from collections.abc import Mapping
from functools import cache

from pydantic import TypeAdapter

from worker.recipes.recipe import Recipe


@cache
def _recipe() -> TypeAdapter[Recipe]:
    """Built on first use: most processes never see a recipe."""
    return TypeAdapter(Recipe)


def to_document(recipe: Recipe) -> dict[str, object]:
    document: dict[str, object] = _recipe().dump_python(recipe, mode="json")
    return document


def from_document(document: Mapping[str, object]) -> Recipe:
    return _recipe().validate_python(document)
