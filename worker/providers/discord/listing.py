"""Tasks in the lists of midjourney-proxy and OhMyGPT, which hold the same facts under nearly the same names.

Wire facts: TaskAction.java of novicezk/midjourney-proxy, TaskAction.cs of trueai-org/midjourney-proxy,
ohmygptdocs.apifox.cn (the page about a list of tasks).
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
    # Any button under an image; all of them make another image from it.
    "ACTION": Operation.VARIATION,
}
#: whose prompt is none, or is the result
_WITHOUT_PROMPT = frozenset({Operation.DESCRIBE, Operation.BLEND})


def listed_task(
    task: object,
    read: Callable[[Mapping[str, object]], Outcome | None],
    show: Callable[[Mapping[str, object]], Shown | None] = lambda _: None,
) -> ListedTask | None:
    """A task of the list; None for what is none, or whose window was never filled in.

    `read`, `show`: how this vendor writes outcomes and requests.
    """
    if not isinstance(task, dict) or task.get("status") == "MODAL":
        return None
    outcome = read(task)
    if outcome is None:
        return None
    word, properties = task.get("action"), task.get("properties")
    # Unknown ones count as imagine.
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
