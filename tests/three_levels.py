"""A recipe of three levels with a grid that is split, a decision and a failure, and what it comes to in the end."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tasks.deciding import pick
from tests.crashing import migrated_ledger, recover
from tests.pipeline import Pipeline, running_pipeline
from tests.s3 import Server
from webhook import sandbox
from worker.generation import Generation, GenerationRequest, Operation, State
from worker.ledger.approvals import ApprovalState
from worker.ledger.generations import NewGeneration
from worker.ledger.schema import events, generations
from worker.recipes import Recipe, load_recipe
from worker.services import services

PRICES = "currency: USD\nprices: [{provider: acedata, price: 0.05}]\n"
#: of the four upscales, the cost allows two
THREE_LEVELS = """
name: levels
steps:
  - {id: cut, when: {operation: imagine}, do: split}
  - id: best
    when: {operation: imagine, assets: 1, label: {shop: acme}, option: {aspect_ratio: "1:1"}}
    pick: person
    timeout: 1h
    otherwise: all
    do: upscale
    max_cost: 0.10
    then:
      - {id: sketch, after: succeeded, do: imagine, prompt: a sketch}
      - id: film
        do: video
        prompt: "a film sandbox:fail"
        then: [{id: again, after: failed, do: video, prompt: a film}]
max_fan_out: 4
"""
ALL = Counter(
    {
        (None, None, State.ARCHIVED): 1,
        ("cut", "split", State.ARCHIVED): 1,
        ("best", "upscale1", State.ARCHIVED): 1,
        ("best", "upscale2", State.ARCHIVED): 1,
        ("sketch", None, State.ARCHIVED): 2,
        ("film", None, State.FAILED): 2,
        ("again", None, State.ARCHIVED): 2,
    }
)
COUNTS = {"archived": 8, "failed": 2}


@contextmanager
def running_with_prices(request: pytest.FixtureRequest, server: Server, folder: Path, name: str) -> Iterator[Pipeline]:
    """A flow of its own on the database that `request.param` names, with what its generations cost."""
    (folder / "prices.yaml").write_text(PRICES)
    with (
        migrated_ledger(request, folder, name) as url,
        pytest.MonkeyPatch.context() as patch,
        sandbox.running(delay=0.02, size=32) as provider,
    ):
        patch.setenv("DARKROOM_PRICES", str(folder / "prices.yaml"))
        with running_pipeline(patch, database_url=url, sandbox=provider, server=server, folder=folder) as running:
            yield running


def three_levels(folder: Path) -> Recipe:
    path = folder / "levels.yaml"
    path.write_text(THREE_LEVELS)
    return load_recipe(path)


def submitted(pipeline: Pipeline, recipe: Recipe) -> str:
    """One that was taken, and of which the provider has told the end."""
    request = GenerationRequest(operation=Operation.IMAGINE, prompt="a teapot", options={"aspect_ratio": "1:1"})
    wanted = NewGeneration(provider="acedata", request=request, recipe=recipe, labels={"shop": "acme"})
    (made,) = pipeline.ledger.generations.create([wanted], "levels")
    for task in ("dispatch", "submit"):
        pipeline.step(task)
    pipeline.until_called_back(made.id)
    pipeline.bells.clear()
    return made.id


def archived(pipeline: Pipeline, recipe: Recipe) -> str:
    root = submitted(pipeline, recipe)
    for task in ("ingest", "archive"):
        pipeline.step(task)
    pipeline.bells.clear()
    return root


def decide_all() -> None:
    """A person picks all of what waits."""
    here = services()
    for approval in here.ledger.approvals.pending(9):
        pick(here, approval, approval.images, by="ada")


def tree(pipeline: Pipeline, root: str) -> list[Generation]:
    """The root first."""
    above = select(generations.c.id).where(generations.c.id == root).cte(recursive=True)
    made = above.union_all(select(generations.c.id).where(generations.c.parent_id == above.c.id))
    with pipeline.ledger.database.read() as connection:
        ids = connection.execute(select(made.c.id).order_by(made.c.id)).scalars().all()
    return pipeline.ledger.generations.get(ids)


def completions(pipeline: Pipeline, root: str) -> list[dict[str, Any]]:
    """What the batch of this one was told to have come to, each time."""
    of_batch = select(events.c.payload).where(events.c.type == "batch.completed").order_by(events.c.id)
    with pipeline.ledger.database.read() as connection:
        mine = of_batch.where(events.c.batch_id == pipeline.get(root).batch_id)
        return list(connection.execute(mine).scalars())


def ends_well(pipeline: Pipeline, root: str) -> None:
    """Everything was made, once, and paid for once; each event was told; the limits hold."""

    def steps() -> Counter[tuple[str | None, str | None, State]]:
        return Counter((one.step, one.action, one.state) for one in tree(pipeline, root))

    recover(pipeline, lambda: steps() == ALL)
    pipeline.until_settled()
    made = tree(pipeline, root)
    assert steps() == ALL
    stories = {one.id: pipeline.story(one.id) for one in made}
    paid = [line["callback_url"] for line in pipeline.sandbox.bill()["lines"]]
    for one in made:
        told = [event.type for event in stories[one.id].events]
        assert told.count(f"generation.{one.state}") == 1
        charges = sum(attempt.id in url for attempt in stories[one.id].attempts for url in paid)
        assert charges == (0 if one.step == "cut" else 1)
    told = stories[root].events
    assert [event.type for event in told].count("generation.needs_approval") == 1
    refused = [event.payload["reason"] for event in told if event.type == "follow_up.refused"]
    assert refused == ["step best: 2 more would exceed its max_cost of 0.10"]
    (approval,) = pipeline.ledger.approvals.of_generation(root)
    assert (approval.state, list(approval.picked or ())) == (ApprovalState.DECIDED, [1, 2, 3, 4])
    (cut,) = (one for one in made if one.step == "cut")
    assert len({asset.object_key for asset in pipeline.assets(cut.id)}) == 4
    assert completions(pipeline, root)[-1]["counts"] == COUNTS
    manifest = pipeline.here.archive.keys.manifest(str(made[0].batch_id), "levels")
    assert len((pipeline.bucket / manifest).read_text().splitlines()) == sum(COUNTS.values())
