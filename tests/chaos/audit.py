"""Three witnesses compared: the provider's bill, the ledger, and the bytes in the bucket."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from worker.generation import FINAL, Generation, State
from worker.ledger import Ledger
from worker.ledger.queries import Story


@dataclass(frozen=True, slots=True)
class Findings:
    """How a run has ended. `complaints` says of everything that is wrong what it is."""

    generations: int
    charges: int
    paid_twice: int
    lost_generations: int
    lost_assets: int
    unconfirmed: int
    final: int
    complaints: tuple[str, ...]

    @property
    def nothing_is_wrong(self) -> bool:
        return self.paid_twice == self.lost_generations == self.lost_assets == 0


def is_settled(ledger: Ledger, bill: Mapping[str, Any]) -> bool:
    """Whether nothing more will happen. One that is unconfirmed and on the bill is still to be found."""
    counts = ledger.queries.counts()
    if counts.keys() - FINAL - {State.UNCONFIRMED} or set(ledger.watching.due()) - {"poll"}:
        return False
    unclear = [ledger.queries.story(one.id) for one in ledger.queries.page(state=State.UNCONFIRMED, limit=1000)]
    billed = {_attempt_of(line) for line in bill["lines"]}
    return not any(attempt.id in billed for story in unclear for attempt in story.attempts)


def audit(ledger: Ledger, bill: Mapping[str, Any], downloads: list[Mapping[str, Any]], bucket: Path) -> Findings:
    stories = [ledger.queries.story(one.id) for one in _all(ledger)]
    owners = {attempt.id: story.generation.id for story in stories for attempt in story.attempts}
    charged = Counter(owners.get(_attempt_of(line), "?") for line in bill["lines"] if not line["refunded"])
    served: dict[str, set[str]] = {}
    for entry in downloads:
        if entry["status"] == 200 and not entry["fault"]:
            served.setdefault(entry["task_id"], set()).add(entry["sha256"])
    twice = [f"{one} was paid {count} times" for one, count in charged.items() if one != "?" and count > 1]
    lost = [f"the ledger does not know who caused {charged['?']} charges"] * charged["?"]
    lost += [complaint for story in stories for complaint in _lost_generations(story)]
    assets = [
        complaint
        for story in stories
        if charged[story.generation.id]
        for complaint in _lost_assets(story, served.get(str(story.generation.task_id), set()), bucket)
    ]
    states = Counter(story.generation.state for story in stories)
    return Findings(
        generations=len(stories),
        charges=int(bill["charges"]),
        paid_twice=len(twice),
        lost_generations=len(lost),
        lost_assets=len(assets),
        unconfirmed=states[State.UNCONFIRMED],
        final=sum(states[state] for state in FINAL),
        complaints=(*twice, *lost, *assets),
    )


def _lost_generations(story: Story) -> Iterator[str]:
    one = story.generation
    if one.state not in {*FINAL, State.UNCONFIRMED}:
        yield f"{one.id} is still {one.state}"
    if one.state is State.ARCHIVED and len(story.children) != len(one.follow_up):
        yield f"{one.id} wants {len(one.follow_up)} follow-ups and has {len(story.children)}"


def _lost_assets(story: Story, served: set[str], bucket: Path) -> Iterator[str]:
    """What was paid for must lie in the bucket, byte for byte as the provider has served it."""
    one = story.generation
    if one.state is not State.ARCHIVED:
        yield f"{one.id} was paid for and is {one.state}"
        return
    for asset in story.assets:
        file = bucket / str(asset.key)
        if asset.key is None or not file.is_file():
            yield f"{one.id}: asset {asset.index} is not in the bucket"
        elif (found := hashlib.sha256(file.read_bytes()).hexdigest()) != asset.sha256:
            yield f"{one.id}: asset {asset.index} has other bytes than the ledger says"
        elif found not in served:
            yield f"{one.id}: asset {asset.index} is not what the provider has served"


def _attempt_of(line: Mapping[str, Any]) -> str:
    """`/callbacks/<provider>/<attempt>/<token>`"""
    return urlsplit(line["callback_url"]).path.split("/")[3]


def _all(ledger: Ledger) -> Iterator[Generation]:
    before = None
    while page := ledger.queries.page(limit=500, before=before):
        yield from page
        before = page[-1].id
