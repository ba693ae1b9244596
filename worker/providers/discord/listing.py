"""Tasks in the lists of midjourney-proxy and OhMyGPT, which contain the same facts under nearly the same names.

Wire facts: TaskAction.java of novicezk/midjourney-proxy, TaskAction.cs of trueai-org/midjourney-proxy,
ohmygptdocs.apifox.cn (the page about task lists).
"""

from collections.abc import Callable, Mapping

from worker.generation import Operation, Outcome
from worker.providers.listing import ListedTask, Shown, marks_of, moment, prompt_of

_OPERATIONS: Mapping[str, Operation] = {
    **{
        operation.name: operation
        for operation in (
            *(Operation.IMAGINE, Operation.UPSCALE, Operation.VARIATION, Operation.REROLL, Operation.PAN),
            *(Operation.ZOOM, Operation.BLEND, Operation.DESCRIBE, Operation.SHORTEN, Operation.VIDEO, Operation.EDIT),
        )
    },
    "INPAINT": Operation.REGION,
    # Any button under an image; each of them creates another image from it.
    "ACTION": Operation.VARIATION,
}
#: operations that have no prompt, or whose prompt is the result
_WITHOUT_PROMPT = frozenset({Operation.DESCRIBE, Operation.BLEND})


def listed_task(
    task: object,
    read: Callable[[Mapping[str, object]], Outcome | None],
    show: Callable[[Mapping[str, object]], Shown | None] = lambda _: None,
) -> ListedTask | None:
    """Return a task of the list; None if it is not a task, or if its window was never filled in.

    `read`, `show`: read an outcome and a request as this vendor writes them.
    """
    if not isinstance(task, dict) or task.get("status") == "MODAL":
        return None
    outcome = read(task)
    if outcome is None:
        return None
    word, properties = task.get("action"), task.get("properties")
    # Unknown words count as imagine.
    operation = _OPERATIONS.get(word, Operation.IMAGINE) if isinstance(word, str) else Operation.IMAGINE
    hook = properties.get("notifyHook") if isinstance(properties, dict) else None
    return ListedTask(
        outcome=outcome,
        operation=operation,
        prompt="" if operation in _WITHOUT_PROMPT else prompt_of(task.get("prompt")),
        created_at=moment(task.get("submitTime") or task.get("submit_time")),
        is_over=moment(task.get("finishTime") or task.get("finish_time")) is not None,
        marks=marks_of(task.get("state"), hook, task.get("webhookUrl")),
        request=show(task),
    )
