"""The auditor of the chaos suite sees what is wrong: one that cannot find fault would praise any run."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.chaos import naive, naive_audit
from tests.chaos.audit import audit, is_settled
from tests.chaos.faults import STRIKES
from tests.chaos.findings import Findings
from tests.chaos.plan import plan
from tests.factories import LEASE, POLL_AFTER, accepted, claimed, failure, success, task_of
from worker.errors import Uncertain
from worker.ledger import Ledger
from worker.ledger.assets import Archived, Stored
from worker.ledger.submission import Claim, Submitted

PICTURE = b"the picture"
SHA256 = hashlib.sha256(PICTURE).hexdigest()


@dataclass
class World:
    """One generation that went well, and what each witness has seen of it."""

    ledger: Ledger
    bucket: Path
    claim: Claim
    bill: list[dict[str, Any]] = field(default_factory=list)
    downloads: list[dict[str, Any]] = field(default_factory=list)
    wishes: set[str] = field(default_factory=set)

    def audit(self) -> Findings:
        return audit(self.ledger, self.wishes, {"lines": self.bill}, self.downloads, self.bucket)

    def is_settled(self) -> bool:
        return is_settled(self.ledger, self.wishes, lambda: {"lines": self.bill})

    @property
    def picture(self) -> Path:
        return self.bucket / f"{self.claim.generation.id}.png"


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    (claim,) = claimed(ledger, key="wish")
    world = World(ledger, tmp_path, claim, wishes={"wish"})
    archive(world, claim)
    return world


def archive(world: World, claim: Claim) -> None:
    ledger, picture = world.ledger, world.bucket / f"{claim.generation.id}.png"
    ledger.submissions.record([Submitted(claim.attempt_id, accepted(claim))], POLL_AFTER)
    ledger.generations.apply_outcomes([success(claim)])
    (held,) = ledger.assets.claim(1, LEASE)
    picture.write_bytes(PICTURE)
    stored = Stored(
        index=0, object_key=picture.name, sha256=SHA256, bytes=len(PICTURE), content_type="image/png", width=8, height=8
    )
    ledger.assets.record([Archived(held, (stored,), described=True)])
    world.bill.append(line(claim.attempt_id, task_of(claim)))
    world.downloads.append(served(task_of(claim)))


def line(attempt_id: str, task_id: str, *, refunded: bool = False) -> dict[str, Any]:
    url = f"http://darkroom.example/callbacks/acedata/{attempt_id}/k1.token"
    return {"callback_url": url, "task_id": task_id, "refunded": refunded}


def served(task_id: str, sha256: str = SHA256, fault: str | None = None) -> dict[str, Any]:
    return {"task_id": task_id, "status": 200, "fault": fault, "sha256": sha256}


def unconfirmed(ledger: Ledger) -> Claim:
    (claim,) = claimed(ledger)
    ledger.submissions.record([Submitted(claim.attempt_id, Uncertain("nobody knows", code="reset"))], POLL_AFTER)
    return claim


def test_a_run_in_which_all_went_well_is_praised(world: World):
    findings = world.audit()
    assert findings.nothing_is_wrong, findings.complaints
    assert (findings.generations, findings.charges, findings.final, findings.unconfirmed) == (1, 1, 1, 0)
    assert world.is_settled()


def test_a_second_charge_is_paid_twice(world: World):
    world.bill.append(line(world.claim.attempt_id, "another task"))
    findings = world.audit()
    assert (findings.paid_twice, findings.charges) == (1, 2)
    assert not findings.nothing_is_wrong


def test_a_charge_that_was_refunded_is_not_paid(world: World):
    world.bill.append(line(world.claim.attempt_id, "another task", refunded=True))
    assert world.audit().nothing_is_wrong


def test_a_charge_that_the_ledger_does_not_know_is_a_lost_generation(world: World):
    world.bill.append(line("f" * 32, "another task"))
    assert world.audit().lost_generations == 1


def test_a_wish_that_the_ledger_has_forgotten_is_a_lost_generation(world: World):
    world.wishes.add("another wish")
    assert world.audit().lost_generations == 1
    assert not world.is_settled()


def test_a_generation_that_is_not_at_its_end_is_lost(world: World):
    claimed(world.ledger)
    findings = world.audit()
    assert (findings.lost_generations, findings.final, findings.generations) == (1, 1, 2)
    assert not world.is_settled()


def test_a_follow_up_that_was_not_created_is_a_lost_generation(world: World):
    archive(world, *claimed(world.ledger, follow_up=("upscale1",)))
    assert world.audit().lost_generations == 1
    assert not world.is_settled()


@pytest.mark.parametrize(
    "hurt",
    [
        pytest.param(lambda world: world.picture.write_bytes(b"the pictUre"), id="another byte"),
        pytest.param(lambda world: world.picture.unlink(), id="no object"),
        pytest.param(lambda world: world.downloads.clear(), id="never served"),
        pytest.param(lambda world: world.downloads[0].update(fault="truncated"), id="served in part"),
        pytest.param(lambda world: world.downloads[0].update(task_id="another task"), id="served for another"),
    ],
)
def test_a_picture_that_is_not_what_the_provider_has_served_is_a_lost_asset(
    world: World, hurt: Callable[[World], object]
):
    hurt(world)
    findings = world.audit()
    assert findings.lost_assets == 1
    assert not findings.nothing_is_wrong


def test_a_picture_that_the_ledger_describes_otherwise_is_a_lost_asset(world: World):
    other = b"another picture"
    world.downloads.append(served(task_of(world.claim), hashlib.sha256(other).hexdigest()))
    world.picture.write_bytes(other)
    assert world.audit().lost_assets == 1


def test_what_was_paid_for_and_given_up_is_a_lost_asset(world: World):
    (claim,) = claimed(world.ledger)
    world.ledger.generations.apply_outcomes([failure(claim)])
    world.bill.append(line(claim.attempt_id, task_of(claim)))
    assert world.audit().lost_assets == 1


def test_an_unconfirmed_one_that_nobody_was_charged_for_is_visible_and_nothing_is_wrong(world: World):
    unconfirmed(world.ledger)
    findings = world.audit()
    assert findings.nothing_is_wrong
    assert (findings.unconfirmed, findings.unconfirmed_charged, findings.final) == (1, 0, 1)
    assert world.is_settled()


def test_an_unconfirmed_one_on_the_bill_must_still_be_found(world: World):
    claim = unconfirmed(world.ledger)
    world.bill.append(line(claim.attempt_id, task_of(claim)))
    findings = world.audit()
    assert findings.unconfirmed_charged == 1
    assert not findings.nothing_is_wrong
    assert not world.is_settled()


def test_the_naive_program_is_measured_by_the_same_rules(tmp_path: Path):
    (tmp_path / naive.PREFIX).mkdir()
    bill = []
    for name in ("good", "twice", "twice", "lost bytes", "refunded"):
        (tmp_path / naive.object_key(name)).write_bytes(PICTURE)
        url = f"http://naive.example/callback/{name}"
        bill.append({"callback_url": url, "task_id": name, "refunded": name == "refunded"})
    (tmp_path / naive.object_key("lost bytes")).unlink()
    (tmp_path / naive.object_key("refunded")).unlink()
    wishes = {"good", "twice", "lost bytes", "refunded", "never submitted"}

    findings = naive_audit.audit(wishes, {"lines": bill}, [served(name) for name in wishes], tmp_path)

    assert (findings.generations, findings.charges, findings.final) == (5, 4, 3)
    assert (findings.paid_twice, findings.lost_generations, findings.lost_assets) == (1, 1, 1)


def test_a_plan_is_that_of_its_seed_and_leaves_no_fault_out():
    first, again, other = (plan(150, list(STRIKES), Random(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {one.fault for one in first} == set(STRIKES)
    assert len(first) == 150


def test_a_plan_gives_what_was_hurt_time_to_come_back():
    free_at: dict[str, float] = {}
    for one in plan(150, list(STRIKES), Random(3)):
        assert one.at >= free_at.get(one.fault.part, 0)
        free_at[one.fault.part] = one.at + one.fault.seconds
