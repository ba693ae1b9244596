"""What a generation belongs to."""

from tests.factories import archived, new, one
from worker.generation import FollowUpStep, Lineage
from worker.ledger import Ledger
from worker.ledger.generations import dedupe_of_follow_up


def test_a_follow_up_has_the_key_of_its_first_ancestor_and_the_name_of_its_own_batch(ledger: Ledger):
    (fox,) = archived(ledger, key="fox", batch="animals")
    root = one(ledger, fox)
    (child,) = ledger.generations.create([new(parent_id=fox, depth=1, batch_id=root.batch_id)])
    (grandchild,) = ledger.generations.create([new(parent_id=child.id, depth=2, key="large fox")])
    (single,) = ledger.generations.create([new()])
    found = ledger.generations.lineages([grandchild.id, single.id, child.id, fox, "gen_0"])
    assert {of: (one.root_id, one.root_key, one.root_created_at, one.batch) for of, one in found.items()} == {
        fox: (fox, "fox", root.created_at, "animals"),
        child.id: (fox, "fox", root.created_at, "animals"),
        grandchild.id: (fox, "fox", root.created_at, None),
        single.id: (single.id, None, single.created_at, None),
    }
    assert found[fox] == Lineage.of_root(root, "animals")


def test_the_steps_lead_from_the_root_and_are_marked_where_a_parent_may_have_several_like_them(ledger: Ledger):
    (fox,) = archived(ledger, key="fox")
    by_recipe = new(parent_id=fox, action="upscale1", dedupe=dedupe_of_follow_up(fox, "upscale1"))
    with_key = new(parent_id=fox, action="upscale1", key="mine", dedupe="key:mine")
    first, second, third = ledger.generations.create([by_recipe, with_key, new(parent_id=fox, action="upscale1")])
    (last,) = ledger.generations.create([new(parent_id=second.id, action="upscale1", dedupe="submission:1/1")])
    found = ledger.generations.lineages([first.id, third.id, last.id])
    assert {of: one.steps for of, one in found.items()} == {
        first.id: (FollowUpStep("upscale1"),),
        third.id: (FollowUpStep("upscale1", third.id),),
        last.id: (FollowUpStep("upscale1", "mine"), FollowUpStep("upscale1", last.id)),
    }
