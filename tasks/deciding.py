"""Carries out the decisions that recipe steps wait for."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tasks.recipe_steps import Planned, cost_of, plan_picked
from worker.errors import ConfigurationError, LedgerUnavailable, LedgerUnfit, RequestInvalid
from worker.generation import State
from worker.ledger.approvals import Approval, ApprovalState, Decided
from worker.recipes import Recipe, Step, walk
from worker.secrets import described
from worker.services import Services

log = logging.getLogger(__name__)

#: overdue approvals ended per pass
_BATCH = 50
#: recorded as the decider when nobody decided in time
NOBODY = "timeout"


def pick(
    here: Services,
    approval: Approval,
    numbers: Sequence[int],
    *,
    by: str,
    why: str = "",
    held_for: timedelta = timedelta(),
) -> Decided:
    """Pick these images and create what follows. `held_for`: how long none of it is submitted.

    Raises RequestInvalid for images that do not exist and for follow-ups that are impossible, ConfigurationError if the
    provider is not set up here. Nothing is then decided.
    """
    if unknown := [number for number in numbers if number not in approval.images]:
        raise RequestInvalid(f"there is no image {unknown[0]}; the images are {', '.join(map(str, approval.images))}")
    asked = _Asked(here, approval)
    return asked.decide(ApprovalState.DECIDED, numbers, asked.planned(numbers), by=by, why=why, held_for=held_for)


def reject(here: Services, approval: Approval, *, by: str, why: str = "") -> Decided:
    """Pick nothing."""
    return _Asked(here, approval).decide(ApprovalState.REJECTED, (), Planned(), by=by, why=why)


def end_overdue(here: Services) -> int:
    """Apply the step's default to approvals that nobody decided in time; return how many generations were created."""
    created = 0
    while overdue := here.ledger.approvals.overdue(_BATCH):
        created += sum(_end(here, approval).created for approval in overdue)
    return created


def _end(here: Services, approval: Approval) -> Decided:
    """End one approval; if that fails, the others are not held up."""
    asked = _Asked(here, approval)
    try:
        return asked.end()
    except (LedgerUnavailable, LedgerUnfit):
        raise
    except Exception as error:
        log.exception("could not apply the `otherwise` of step %s for %s", approval.step, approval.generation_id)
        refused = Planned(refused=[f"step {approval.step}: {described(error)}"])
        return asked.decide(ApprovalState.EXPIRED, (), refused, by=NOBODY, why="", is_overdue=True)


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a decision leads to. `costs`: of the step's follow-up for each image, in millionths; None without prices."""

    recipe: Recipe
    step: Step
    costs: Mapping[int, int] | None


def consequences(here: Services, approval: Approval) -> Consequences:
    asked = _Asked(here, approval)
    return Consequences(asked.recipe, asked.step, asked.costs())


class _Asked:
    """An approval with its generation and its step."""

    def __init__(self, here: Services, approval: Approval) -> None:
        self._here = here
        self._approval = approval
        (self._parent,) = here.ledger.generations.get([approval.generation_id])
        self.recipe = here.ledger.generations.recipe(str(self._parent.recipe))
        self.step = next(step for step in walk(self.recipe.steps) if step.id == approval.step)

    def costs(self) -> Mapping[int, int] | None:
        prices = self._here.prices
        if prices is None or self._parent.state is State.DELETED:
            return None
        try:
            planned = {one: self.planned([one]).children for one in self._approval.images}
        except (RequestInvalid, ConfigurationError):
            return None
        return {one: cost_of(prices, children[0]) for one, children in planned.items() if children}

    def planned(self, numbers: Sequence[int]) -> Planned:
        """Plan the follow-ups. Raises RequestInvalid as `pick` does."""
        if self._parent.state is State.DELETED:
            raise RequestInvalid(f"{self._parent.id} was deleted: nothing can follow it")
        return plan_picked(self._here, self._parent, self.recipe, self.step, numbers)

    def end(self) -> Decided:
        otherwise = self.step.otherwise
        if otherwise is None or self._parent.state is State.DELETED:
            return self._end(ApprovalState.EXPIRED, (), Planned())
        seed = f"{self.recipe.sha256}/{self.step.id}/{self._parent.id}"
        numbers = otherwise.of(tuple(self._approval.images), seed=seed)
        try:
            planned = self.planned(numbers)
        except (RequestInvalid, ConfigurationError) as error:
            # There is nobody to report this to, and the recipe does not say to wait longer.
            planned = Planned(refused=[f"step {self.step.id}: {error}"])
        return self._end(ApprovalState.DECIDED, numbers, planned)

    def _end(self, to: ApprovalState, numbers: Sequence[int], planned: Planned) -> Decided:
        return self.decide(to, numbers, planned, by=NOBODY, why="", is_overdue=True)

    def decide(
        self,
        to: ApprovalState,
        numbers: Sequence[int],
        planned: Planned,
        *,
        by: str,
        why: str,
        is_overdue: bool = False,
        held_for: timedelta = timedelta(),
    ) -> Decided:
        return self._here.ledger.approvals.decide(
            self._approval,
            to,
            parent=self._parent,
            picked=numbers,
            by=by,
            why=why,
            children=planned.children,
            refused=planned.refused,
            most=min(self.recipe.max_fan_out, self._here.settings.darkroom_max_follow_ups),
            is_overdue=is_overdue,
            held_for=held_for,
        )
