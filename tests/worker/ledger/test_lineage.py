"""What a generation belongs to."""

from tests.factories import archived, new, one
from worker.generation import Lineage
from worker.ledger import Ledger


def test_a_follow_up_has_the_key_of_its_first_ancestor_and_the_name_of_its_own_batch(ledger: Ledger):
    (fox,) = archived(ledger, key="fox", batch="animals")
    batch_id = one(ledger, fox).batch_id
    (child,) = ledger.generations.create([new(parent_id=fox, depth=1, batch_id=batch_id)])
    (grandchild,) = ledger.generations.create([new(parent_id=child.id, depth=2, key="large fox")])
    (single,) = ledger.generations.create([new()])
    assert ledger.generations.lineages([grandchild.id, single.id, child.id, fox, "gen_0"]) == {
        fox: Lineage("fox", "animals"),
        child.id: Lineage("fox", "animals"),
        grandchild.id: Lineage("fox", None),
        single.id: Lineage(None, None),
    }
