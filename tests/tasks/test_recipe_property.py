"""Whatever the recipe, whatever happens: what follows is what the recipe says, once, within its limits."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from shutil import copyfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.deciding import end_overdue, pick, reject
from tasks.follow_up import _create
from tests.clock import FakeClock
from tests.examples import examples
from tests.factories import (
    LEASE,
    PLENTY,
    POLL_AFTER,
    PROVIDER,
    accepted,
    all_stored,
    failure,
    new,
    success,
)  # fmt: skip
from worker.generation import OPEN, Generation, Operation, State
from worker.ledger.approvals import ApprovalState
from worker.ledger.changes import Person
from worker.ledger.generations import DueSteps
from worker.ledger.submission import Claim, Submitted
from worker.recipes import After, Chooser, Pick, Recipe, Step
from worker.recipes.recipe import When
from worker.services import Services
from worker.settings import load_settings

PRICE = Decimal("0.05")
GRIDS = {Operation.IMAGINE, Operation.VARIATION}
OF_A_GRID = tuple(f"{family}{number}" for family in ("upscale", "variation") for number in range(1, 5))
FIRST, ALL = Pick(chooser=Chooser.NUMBERS, numbers=(1,)), Pick()
REACHED_IN = {
    After.FAILED: {State.FAILED},
    After.SUCCEEDED: {State.SUCCEEDED, State.ARCHIVED, State.EXPIRED},
    After.ARCHIVED: {State.ARCHIVED},
}
COSTS = st.sampled_from([None, Decimal("0.05"), Decimal("0.10"), Decimal("0.12")])
PICKS = st.one_of(
    st.just(ALL),
    st.just(FIRST),
    st.just(Pick(chooser=Chooser.NUMBERS, numbers=(1, 3, 7))),
    st.just(Pick(chooser=Chooser.RANDOM, count=2)),
)


@st.composite
def steps(draw: st.DrawFn, level: int, ids: Iterator[int]) -> Step:
    then = draw(st.lists(steps(level - 1, ids), max_size=2)) if level else []
    facts: dict = {"id": f"s{next(ids)}", "then": tuple(then)}
    if draw(st.booleans()):
        facts["when"] = When(operations=("imagine",))
    kind = draw(st.sampled_from(["split", "failed", "early", "picked", "asked"]))
    if kind == "split":
        return Step(do="split", **facts)
    if kind == "failed":
        return Step(do="imagine", after=After.FAILED, prompt="plainly", **facts)
    facts |= {"do": draw(st.sampled_from(["upscale", "variation"])), "max_cost": draw(COSTS)}
    if kind == "early":
        return Step(after=After.SUCCEEDED, pick=draw(PICKS), **facts)
    if kind == "picked":
        return Step(pick=draw(PICKS), **facts)
    person = Pick(chooser=Chooser.PERSON)
    return Step(pick=person, timeout=timedelta(hours=2), otherwise=draw(st.none() | PICKS), **facts)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    ids = iter(range(99))
    top = draw(st.lists(steps(1, ids), min_size=1, max_size=3))
    return Recipe(name="any", steps=tuple(top), max_depth=2, max_fan_out=draw(st.integers(1, 6)))


#: what happens, and to whom of those to whom it may
HISTORY = st.lists(
    st.tuples(
        st.sampled_from(
            ["submit", "succeed", "fail", "time out", "late success", "archive", "retry", "delete", "look", "decide",
             "reject", "remember", "act on it", "hours", "give up", "try once more"]
        ),
        st.integers(0, 5),
    ),
    max_size=30,
)  # fmt: skip


class Play:
    def __init__(self, here: Services, clock: FakeClock, recipe: Recipe) -> None:
        self.here, self.ledger, self.clock, self.recipe = here, here.ledger, clock, recipe
        self.claims: list[Claim] = []
        self.timed_out: list[Claim] = []
        self.remembered: list[DueSteps] = []
        #: the moments that were followed, and those of which somebody has given up
        self.reached: set[tuple[str, After]] = set()
        self.given_up: set[str] = set()
        #: a late success makes a batch open again that was complete
        self.is_late = False
        (root,) = self.ledger.generations.create([new("a teapot", recipe=recipe)], "b")
        self.batch = str(root.batch_id)

    def happen(self, what: str, number: int) -> None:
        getattr(self, what.replace(" ", "_"))(number)
        if not self.is_late:
            assert self._is_complete() == self._is_over()

    # --- what happens ---

    def submit(self, _: int) -> None:
        self.ledger.dispatch.run(PROVIDER, PLENTY)
        claims = self.ledger.submissions.claim(9, LEASE)
        self.ledger.submissions.record([Submitted(one.attempt_id, accepted(one)) for one in claims], POLL_AFTER)
        self.claims += claims

    def succeed(self, number: int) -> None:
        if self.claims:
            self._succeeds(self.claims.pop(number % len(self.claims)))

    def fail(self, number: int) -> None:
        if self.claims:
            claim = self.claims.pop(number % len(self.claims))
            self.ledger.generations.apply_outcomes([failure(claim)])

    def time_out(self, number: int) -> None:
        if self.claims:
            claim = self.claims.pop(number % len(self.claims))
            self.timed_out.append(claim)
            self.ledger.generations.apply_outcomes([failure(claim, reason="timeout")])

    def late_success(self, number: int) -> None:
        if self.timed_out:
            self.is_late = True
            self._succeeds(self.timed_out.pop(number % len(self.timed_out)))

    def archive(self, _: int) -> None:
        self.ledger.assets.record([all_stored(claim) for claim in self.ledger.assets.claim(9, LEASE)])

    def retry(self, number: int) -> None:
        if failed := [one for one in self.all() if one.state is State.FAILED]:
            self.ledger.generations.retry([failed[number % len(failed)].id])

    def delete(self, number: int) -> None:
        mine = self.all()
        self.ledger.generations.delete([mine[number % len(mine)].id], Person("ada"))

    def look(self, _: int) -> None:
        while due := self.ledger.generations.due_steps(50):
            self._act(due)
        end_overdue(self.here)

    def remember(self, _: int) -> None:
        """Another worker has looked, and is slow."""
        self.remembered = self.ledger.generations.due_steps(50)

    def act_on_it(self, _: int) -> None:
        self._act(self.remembered)

    def decide(self, number: int) -> None:
        for approval in self.ledger.approvals.pending(50)[number:][:1]:
            pick(self.here, approval, approval.images[: number + 1], by="ada")

    def reject(self, number: int) -> None:
        for approval in self.ledger.approvals.pending(50)[number:][:1]:
            reject(self.here, approval, by="ada")

    def hours(self, _: int) -> None:
        self.clock.advance(hours=1, minutes=10)

    def give_up(self, number: int) -> None:
        for due in self.ledger.generations.due_steps(50)[number:][:1]:
            while not self.ledger.generations.record_follow_up_failure(due.generation, "KeyError: 'zoom'"):
                self.clock.advance(minutes=10)
            self.given_up.add(due.generation.id)

    def try_once_more(self, _: int) -> None:
        for refused in self.ledger.generations.refused_follow_ups(9):
            self.ledger.generations.retry_follow_ups(refused.generation_id)

    # --- what came of it ---

    def check(self) -> None:
        """After all of it is over."""
        self.try_once_more(0)
        for _ in range(4):
            self.submit(0)
            while self.claims:
                self.succeed(0)
            self.archive(0)
            self.look(0)
            for approval in self.ledger.approvals.pending(50):
                pick(self.here, approval, approval.images[:2], by="ada")
        made = self.all()
        keys = Counter((one.parent_id, one.step, one.action) for one in made)
        assert set(keys.values()) == {1}
        for parent in made:
            self._check(parent, [one for one in made if one.parent_id == parent.id])

    def _check(self, parent: Generation, children: list[Generation]) -> None:
        mine = self.recipe.after(parent.step)
        assert {one.step for one in children} <= {step.id for step in mine}
        assert len(children) <= self.recipe.max_fan_out
        wanted = 0
        for step in mine:
            made = [one for one in children if one.step == step.id]
            numbers = self._numbers(parent, step)
            if step.max_cost is not None:
                assert len(made) * PRICE <= step.max_cost
                numbers = numbers[: int(step.max_cost / PRICE)]
            actions = {None if step.do == "imagine" else "split"} if step.do in {"split", "imagine"} else {
                f"{step.do}{number}" for number in numbers
            }  # fmt: skip
            assert {one.action for one in made} <= (actions if numbers else set()), (step, parent)
            wanted += len(numbers)
        if parent.id not in self.given_up:
            assert len(children) == min(wanted, self.recipe.max_fan_out), (parent, children)

    def _numbers(self, parent: Generation, step: Step) -> list[int]:
        """Of the images of which something is to be made, by what the recipe says; without its limits."""
        is_imagined = parent.operation is Operation.IMAGINE
        if (parent.id, step.after) not in self.reached or (step.when.operations and not is_imagined):
            return []
        if step.do == "imagine":
            return [1]
        if parent.operation not in GRIDS:
            return []
        if step.do == "split":
            return [1]
        if step.pick.chooser is Chooser.PERSON:
            asked = [one for one in self.ledger.approvals.of_generation(parent.id) if one.step == step.id]
            assert len(asked) == 1
            return list(asked[0].picked or ()) if asked[0].state is ApprovalState.DECIDED else []
        return list(step.pick.of((1, 2, 3, 4), f"{self.recipe.sha256}/{step.id}/{parent.id}"))

    def all(self) -> list[Generation]:
        return self.ledger.generations.page(limit=1000)[::-1]

    def _act(self, due: list[DueSteps]) -> None:
        states = {one.id: one.state for one in self.all()}
        for one in due:
            if states[one.generation.id] in REACHED_IN[one.moment]:
                self.reached.add((one.generation.id, one.moment))
            _create(self.here, one.generation, one.moment)

    def _succeeds(self, claim: Claim) -> None:
        actions = OF_A_GRID if claim.generation.operation in GRIDS else ()
        self.ledger.generations.apply_outcomes([success(claim, actions=actions)])

    def _is_complete(self) -> bool:
        return self.ledger.batches.steering(self.batch).completed_at is not None

    def _is_over(self) -> bool:
        """Nothing is open, due or asked. What was given up is over."""
        given_up = {one.generation_id for one in self.ledger.generations.refused_follow_ups(99)}
        return not (
            any(one.state in OPEN for one in self.all())
            or any(one.generation.id not in given_up for one in self._due())
            or self.ledger.approvals.pending(1)
        )

    def _due(self) -> list[DueSteps]:
        before, self.clock.now = self.clock.now, self.clock.now + timedelta(days=1)
        due = self.ledger.generations.due_steps(99)
        self.clock.now = before
        return due


@pytest.fixture
def world(migrated_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "World":
    (tmp_path / "prices.yaml").write_text(f"currency: USD\nprices: [{{price: {PRICE}}}]\n")
    monkeypatch.setenv("DARKROOM_PRICES", str(tmp_path / "prices.yaml"))
    monkeypatch.setenv("DARKROOM_DATA", str(tmp_path))
    monkeypatch.setenv("ACEDATACLOUD_API_TOKEN", "t")
    return World(migrated_file, tmp_path / "ledger.sqlite3", monkeypatch)


class World:
    """A new ledger for each example."""

    def __init__(self, migrated: Path, file: Path, patch: pytest.MonkeyPatch) -> None:
        self._migrated, self._file = migrated, file
        patch.setenv("DATABASE_URL", f"sqlite:///{file}")
        self._settings = load_settings()

    def play(self, recipe: Recipe, history: list[tuple[str, int]]) -> None:
        for old in self._file.parent.glob(f"{self._file.name}*"):
            old.unlink()
        copyfile(self._migrated, self._file)
        self._file.chmod(0o600)
        clock = FakeClock()
        here = Services(self._settings, clock=clock)
        try:
            play = Play(here, clock, recipe)
            for what, number in history:
                play.happen(what, number)
            play.check()
        finally:
            here.close()


@settings(max_examples=examples(160))
@given(recipe=recipes(), history=HISTORY)
def test_what_follows_is_what_the_recipe_says(world: World, recipe: Recipe, history: list[tuple[str, int]]) -> None:
    world.play(recipe, history)
