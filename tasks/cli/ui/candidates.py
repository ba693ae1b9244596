"""Tasks at a provider that may be an unconfirmed submission."""

from collections.abc import Sequence


def perhaps(generation_id: str, candidates: Sequence[str]) -> str | None:
    """Say which tasks they are, why none was chosen, and what to do; None without candidates."""
    if not candidates:
        return None
    tasks = f"task {candidates[0]}" if len(candidates) == 1 else f"one of the tasks {', '.join(candidates)}"
    return (
        f"{tasks}: the same request at the same time, but perhaps not ours; if it is: "
        f"darkroom resolve {generation_id} --charged --task-id {candidates[0]}"
    )
