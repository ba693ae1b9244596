"""Provider tasks that may be follow-ups that the ledger has yet to create.

A restored ledger creates its follow-ups again, and then recognizes such a task as one of them. Before that, it would
import the task as something else and pay for the follow-up a second time.
"""

from dataclasses import dataclass
from itertools import chain

from tasks.usecases.comparing import words
from worker.generation import Operation
from worker.ledger.generations import Followed
from worker.providers import ListedTask
from worker.recipes import steps_of, walk
from worker.services import Services


@dataclass(frozen=True, slots=True)
class _Sort:
    """`action`, `prompt`: None for any."""

    provider: str
    operation: Operation
    action: str | None
    prompt: str | None


class StillToFollow:
    """What may still follow the generations of a ledger in its current state.

    `with_queued`: include queued generations, although a task may be one of them.
    """

    def __init__(self, here: Services, *, with_queued: bool) -> None:
        self._here = here
        found = here.ledger.generations.still_to_be_followed(with_queued=with_queued)
        self._sorts = frozenset(chain.from_iterable(map(self._sorts_of, found)))

    def may_be(self, provider: str, task: ListedTask) -> bool:
        return any(
            sort.provider == provider
            and sort.operation == task.operation
            and sort.action in {None, task.action}
            # Not every list shows the prompt of a follow-up.
            and (sort.prompt is None or not task.prompt or words(sort.prompt) == words(task.prompt))
            for sort in self._sorts
        )

    def _sorts_of(self, one: Followed) -> set[_Sort]:
        if one.recipe is None:
            steps = chain.from_iterable(map(steps_of, one.follow_up))
            return {_Sort(one.provider, operation, action, None) for operation, action in steps}
        recipe = self._here.ledger.generations.recipe(one.recipe)
        return {
            _Sort(one.provider, step.operation, step.do if step.is_action else None, step.prompt)
            for step in walk(recipe.after(one.step))
            if step.operation is not None
        }
