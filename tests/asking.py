"""Generations whose recipes wait for a decision."""

from pathlib import Path
from typing import Any

from tests.factories import LEASE, all_stored, submitted, success
from worker.ledger import Ledger
from worker.ledger.approvals import Approval
from worker.ledger.generations import NewApproval
from worker.recipes import After, Recipe, Step, load_recipe, walk

ACTIONS = ("upscale1", "upscale2", "upscale3", "upscale4")


def a_recipe(folder: Path, *, otherwise: str = "none", pick: str = "person", more: str = "") -> Recipe:
    """Whose step `best` waits for three days, and then upscales what was picked."""
    if otherwise != "none":
        more += ", max_cost: 5"
    path = folder / "shop.yaml"
    path.write_text(
        f"name: shop\nsteps:\n  - {{id: best, pick: {pick}, timeout: 3d, otherwise: {otherwise}, do: upscale{more}}}\n"
    )
    return load_recipe(path)


def asked(ledger: Ledger, recipe: Recipe, count: int = 1, **facts: Any) -> list[Approval]:
    """Archived grids, whose recipe waits."""
    claims = submitted(ledger, count, recipe=recipe, **facts)
    ledger.generations.apply_outcomes([success(claim, actions=ACTIONS) for claim in claims])
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(count, LEASE)])
    found = []
    for parent in ledger.generations.get([claim.generation.id for claim in claims]):
        waiting = [_of(step) for step in walk(recipe.steps) if step.pick.waits]
        ledger.generations.create_follow_ups(parent, [], [], waiting, moment=After.ARCHIVED)
        found += ledger.approvals.of_generation(parent.id)
    return found


def _of(step: Step) -> NewApproval:
    assert step.timeout is not None
    task, queue = (step.pick.task, step.pick.queue) if step.pick.task else (None, None)
    return NewApproval(step=step.id, images=(1, 2, 3, 4), timeout=step.timeout, task=task, queue=queue)
