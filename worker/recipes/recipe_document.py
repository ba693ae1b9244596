"""Recipes as JSON, as the ledger keeps them."""

from collections.abc import Mapping
from functools import cache

from pydantic import TypeAdapter

from worker.recipes.recipe import Recipe


@cache
def _recipe() -> TypeAdapter[Recipe]:
    """Built with the first recipe: most processes never see one."""
    return TypeAdapter(Recipe)


def to_document(recipe: Recipe) -> dict[str, object]:
    document: dict[str, object] = _recipe().dump_python(recipe, mode="json")
    return document


def from_document(document: Mapping[str, object]) -> Recipe:
    return _recipe().validate_python(document)
