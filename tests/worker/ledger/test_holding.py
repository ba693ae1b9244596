"""Which budget holds what is queued, read before dispatch looks at it; and what programs read of generations."""

from tests.factories import PLENTY, PROVIDER, archived, new, queued, submitted
from tests.worker.ledger.purses import EVERY
from worker.generation import State
from worker.ledger import Ledger
from worker.ledger.budget import AnyBudgetKey, Asked
from worker.ledger.schema import BudgetKey, BudgetKind, LabelKey, Labels
from worker.pricing.prices import Caps, Prices

ACME: Labels = (("client", "acme"),)
TODAY = BudgetKey(BudgetKind.DAY, "2026-11-21")


def full(ledger: Ledger, caps: Caps, *asked: Asked) -> list[AnyBudgetKey | None]:
    return ledger.budgets.full(Prices(rules=EVERY, caps=caps), asked)


def ask(amount: int, *, batch: str | None = None, labels: Labels = (), provider: str = PROVIDER) -> Asked:
    return Asked(provider, batch, labels, amount)


def test_what_fits_after_what_comes_before_it_is_not_held(ledger: Ledger):
    asked = (ask(60), ask(50), ask(40, provider="kie"), ask(1), ask(0))
    assert full(ledger, Caps(day=100), *asked) == [None, TODAY, None, TODAY, None]


def test_what_is_reserved_counts(ledger: Ledger):
    caps = Caps(day=3)
    queued(ledger, 2)
    assert full(ledger, caps, ask(3)) == [None]
    ledger.dispatch.run(PROVIDER, PLENTY, Prices(rules=EVERY, caps=caps))
    assert full(ledger, caps, ask(2), ask(1)) == [TODAY, None]


def test_what_has_no_cap_is_held_by_nothing(ledger: Ledger):
    assert full(ledger, Caps(), ask(10**9, batch="batch_1", labels=ACME)) == [None]


def test_of_several_the_budget_that_lasts_longest_is_named(ledger: Ledger):
    (made,) = queued(ledger, batch="shop")
    batch = BudgetKey(BudgetKind.BATCH, batch_id=str(made.batch_id))
    of_provider = BudgetKey(BudgetKind.PROVIDER, "2026-11-21", PROVIDER)
    caps = Caps(day=1, providers={PROVIDER: 1}, batches={"shop": 1}, labels={"client": {"*": 1}})
    asked = ask(2, batch=made.batch_id, labels=ACME)
    assert full(ledger, caps, asked, asked._replace(labels=()), ask(2), ask(2, provider="kie")) == [
        LabelKey("client", "acme"),
        batch,
        of_provider,
        TODAY,
    ]


def test_a_batch_is_held_by_its_own_cap(ledger: Ledger):
    (made,) = queued(ledger, batch="shop")
    ledger.batches.limit(str(made.batch_id), max_cost=5)
    assert full(ledger, Caps(), ask(5, batch=made.batch_id)) == [None]
    assert full(ledger, Caps(), ask(6, batch=made.batch_id)) == [BudgetKey(BudgetKind.BATCH, batch_id=made.batch_id)]


def test_a_snapshot_is_what_the_whole_story_says(ledger: Ledger):
    (parent,) = archived(ledger, labels={"client": "acme"}, batch="shop")
    (sent,) = submitted(ledger)
    (child,) = ledger.generations.create([new(action="upscale1", parent_id=parent)])
    wanted = [sent.generation.id, parent, child.id]
    found = ledger.generations.snapshots([*wanted, "gen_0"])
    assert [one.generation.id for one in found] == wanted
    for one in found:
        story = ledger.generations.story(one.generation.id)
        assert (one.generation, one.lineage, one.labels) == (story.generation, story.lineage, story.labels)
        assert (tuple(one.assets), tuple(one.transitions)) == (story.assets, story.transitions)
        assert [born[1:] for born in one.children] == [tuple(born) for born in story.children]
        assert one.cost == sum(charge.price for charge in story.charges if charge.state in {"spent", "late"})


def test_only_final_ones_have_ended(ledger: Ledger):
    (done,), (waiting,) = archived(ledger), queued(ledger)
    (cancelled,) = queued(ledger)
    ledger.generations.cancel([cancelled.id])
    assert ledger.generations.ended([waiting.id, done, cancelled.id, "gen_0"]) == {done, cancelled.id}
    assert ledger.generations.get([waiting.id])[0].state is State.QUEUED


def test_keys_are_known_once_they_belong_to_a_generation(ledger: Ledger):
    queued(ledger, key="fox")
    assert ledger.generations.known(["key:fox", "key:owl"]) == {"key:fox"}
    assert ledger.generations.known([]) == set()
