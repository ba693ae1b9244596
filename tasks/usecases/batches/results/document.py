"""A generation of a batch with its results, for programs and tables."""

from collections.abc import Mapping
from typing import Any

from tasks.usecases.batch_file import CHOICE
from worker.archive import KEPT, of_asset
from worker.archive import of_generation as fields_of
from worker.failures import REMEDIES, Category
from worker.generation import State
from worker.ledger.generations import BatchResult
from worker.pricing import as_text
from worker.secrets import signatures_cut

_GENERATION = (
    *("id", "key", "state", "reason", "message", "provider", "operation", "action", "parent", "root_key"),
    *("recipe", "step"),
    *("batch", "batch_id", "prompt", "options", "task_id", "created_at", "finished_at"),
)
_ASSET = (
    *("index", "kind", "state", "object_key", "sha256", "bytes", "content_type", "width", "height", "seconds"),
    "content",
)


def document_of(
    one: BatchResult, category: Category | None, links: Mapping[int, str], expires_at: str | None
) -> dict[str, Any]:
    """Return the document. `links`: to the results, by index; `expires_at`: when these expire.

    `input`: the columns of the user's row, also for its follow-ups; empty for a deleted generation.
    """
    columns = {name: signatures_cut(value) for name, value in _input(one).items()}
    assets = [of_asset(asset, _ASSET) for asset in one.assets]
    if expires_at is not None:
        assets = [{**asset, "link": links.get(asset["index"]), "link_expires_at": expires_at} for asset in assets]
    return {
        **fields_of(one.generation, one.lineage, _GENERATION, KEPT),
        "row": one.root.row_number,
        "version": one.root.row_version,
        "category": category,
        "remedy": category and REMEDIES[category],
        "cost": None if one.cost is None else as_text(one.cost),
        "choice": columns.pop(CHOICE, None),
        "input": columns,
        "labels": dict(one.labels),
        "assets": assets,
    }


def _input(one: BatchResult) -> Mapping[str, object]:
    # A deleted generation no longer has columns, and must not inherit its root's.
    return {} if one.generation.state is State.DELETED else one.root.input
