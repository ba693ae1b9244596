"""Rows of a sheet as the check of a file hands them on."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.usecases.batches.request import BatchRequest
from worker.generation import GenerationRequest, Operation
from worker.ledger.generations import NewGeneration


class Sheet(NamedTuple):
    """What submitting needs of a file."""

    name: str
    sha256: str


def request(name: str = "shop.csv", content: object = "", **facts: Any) -> BatchRequest:
    digest = hashlib.sha256(repr(content).encode()).hexdigest()
    return BatchRequest(file=Sheet(name, digest), **facts)  # type: ignore[arg-type]


def row(
    number: int, key: str | None, prompt: str = "a fox", *, choice: int | None = None, **facts: Any
) -> NewGeneration:
    """`choice`: the number of it among those that a template made of its row."""
    options: Mapping[str, object] = facts.pop("options", {})
    digest = hashlib.sha256(f"{key} {prompt}".encode()).hexdigest()
    made: dict[str, object] = {"sku": key} if choice is None else {"sku": key, "_choice": {"colour": choice}}
    return NewGeneration(
        provider=facts.pop("provider", "acedata"),
        request=GenerationRequest(operation=Operation.IMAGINE, prompt=facts.pop("sent", prompt), options=options),
        key=key if choice is None or key is None else f"{key}/{choice}",
        row_number=number,
        row_sha256=digest,
        input=made,
        **facts,
    )
