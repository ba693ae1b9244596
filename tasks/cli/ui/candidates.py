"""Tasks of which a person may find that one is an unclear submission."""

from collections.abc import Sequence


def perhaps(generation_id: str, candidates: Sequence[str]) -> str | None:
    """Which they are, why nobody decided, and what to do; None without any."""
    if not candidates:
        return None
    tasks = f"task {candidates[0]}" if len(candidates) == 1 else f"one of the tasks {', '.join(candidates)}"
    return (
        f"{tasks}: the same request was sent at that time, but somebody else may have sent it too; if it is "
        f"yours: darkroom resolve {generation_id} --charged --task-id {candidates[0]}"
    )
