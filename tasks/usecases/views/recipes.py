"""Recipes as JSON."""

from typing import TYPE_CHECKING, Any

from worker.pricing import as_text
from worker.recipes import Recipe, to_document

if TYPE_CHECKING:
    from tasks.usecases.recipes import Branch, Drawing, RecipeFile


def of_recipe(recipe: Recipe) -> dict[str, Any]:
    return {**to_document(recipe), "sha256": recipe.sha256}


def of_recipe_file(found: "RecipeFile") -> dict[str, Any]:
    return {
        "path": str(found.path),
        "is_valid": found.recipe is not None,
        "mistake": found.mistake,
        "recipe": found.recipe and of_recipe(found.recipe),
    }


def of_drawing(drawing: "Drawing") -> dict[str, Any]:
    return {
        "recipe": drawing.recipe.name,
        "sha256": drawing.recipe.sha256,
        "provider": drawing.provider,
        "operation": drawing.operation,
        "currency": drawing.prices and drawing.prices.currency,
        "generations": drawing.total,
        "amount": as_text(drawing.total_amount) if drawing.prices else None,
        "steps": [_of_branch(branch) for branch in drawing.branches],
    }


def _of_branch(branch: "Branch") -> dict[str, Any]:
    return {
        "step": branch.step.id,
        "do": branch.step.do,
        "generations": branch.number,
        "amount": None if branch.amount is None else as_text(branch.amount),
        "never": branch.why,
        "then": [_of_branch(child) for child in branch.then],
    }
