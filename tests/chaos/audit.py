"""Three witnesses compared: the provider's bill, the ledger, and the bytes in the bucket."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select

from tests.chaos.findings import Findings
from tests.chaos.wishes import RECIPE_MAKES
from worker.generation import FINAL, Operation, State
from worker.ledger import Ledger
from worker.ledger.schema import assets, attempts, generations

Bill = Mapping[str, Any]


@dataclass
class Record:
    """What the ledger says of one generation; `assets` are rows of the table of that name."""

    id: str
    key: str | None
    state: State
    task_id: str | None
    reason: str | None
    follow_ups: int
    #: made here of what another one has
    is_cut: bool = False
    attempts: set[str] = field(default_factory=set)
    assets: list[Any] = field(default_factory=list)
    children: int = 0


def audit(
    ledger: Ledger, wishes: AbstractSet[str], bill: Bill, downloads: Iterable[Mapping[str, Any]], bucket: Path
) -> Findings:
    """`wishes` are the keys of the generations that were created, and for which the ledger has given its word."""
    records = read(ledger)
    owners = {attempt: record.id for record in records for attempt in record.attempts}
    paid = Counter(owners.get(attempt_of(line), "?") for line in bill["lines"] if not line["refunded"])
    served = served_to(downloads)
    twice = [f"{one} was paid {count} times" for one, count in paid.items() if one != "?" and count > 1]
    lost = [f"{key} was created, and the ledger has forgotten it" for key in wishes - {one.key for one in records}]
    lost += [f"the ledger does not know who caused {paid['?']} charges"] * paid["?"]
    lost += [complaint for record in records for complaint in _lost_generations(record)]
    missing = [
        complaint
        for record in records
        for complaint in _lost_assets(record, served[record.task_id], bucket, is_paid=paid[record.id] > 0)
    ]
    states = Counter(record.state for record in records)
    unclear = [
        f"{record.id} is unconfirmed, and the bill has it"
        for record in records
        if record.state is State.UNCONFIRMED and paid[record.id]
    ]
    return Findings(
        generations=len(records),
        charges=sum(paid.values()),
        paid_twice=len(twice),
        lost_generations=len(lost),
        lost_assets=len(missing),
        unconfirmed=states[State.UNCONFIRMED],
        unconfirmed_charged=len(unclear),
        final=sum(states[state] for state in FINAL),
        complaints=(*twice, *lost, *missing, *unclear),
        reasons=Counter(str(record.reason) for record in records if record.state is State.UNCONFIRMED),
    )


def is_settled(ledger: Ledger, wishes: AbstractSet[str], ask_bill: Callable[[], Bill]) -> bool:
    """Whether nothing more will happen. One that is unconfirmed and on the bill is still to be found."""
    counts = ledger.generations.counts()
    if sum(counts.values()) < len(wishes) or counts.keys() - FINAL - {State.UNCONFIRMED}:
        return False
    if set(ledger.maintenance.due()) - {"poll"} or ledger.approvals.pending(1):
        return False
    unclear = {one.attempt_id for one in ledger.submissions.unconfirmed()}
    return not unclear or unclear.isdisjoint(attempt_of(line) for line in ask_bill()["lines"])


def read(ledger: Ledger) -> list[Record]:
    """All at once: one question per generation would take longer than the run."""
    with ledger.database.read() as connection:
        found = {
            row.id: Record(
                row.id,
                row.key,
                State(row.state),
                row.task_id,
                row.reason,
                RECIPE_MAKES[row.step] if row.recipe else len(row.follow_up),
                is_cut=row.operation == Operation.SPLIT,
            )
            for row in connection.execute(select(generations))
        }
        for row in connection.execute(select(generations.c.parent_id).where(generations.c.parent_id.is_not(None))):
            found[row.parent_id].children += 1
        for row in connection.execute(select(attempts.c.id, attempts.c.generation_id)):
            found[row.generation_id].attempts.add(row.id)
        for row in connection.execute(select(assets)):
            found[row.generation_id].assets.append(row)
    return list(found.values())


def attempt_of(line: Mapping[str, Any]) -> str:
    """`/callbacks/<provider>/<attempt>/<token>`"""
    return urlsplit(str(line["callback_url"])).path.split("/")[3]


def served_to(downloads: Iterable[Mapping[str, Any]]) -> defaultdict[str | None, set[str]]:
    """The hashes of what the provider has served whole, by task_id."""
    served: defaultdict[str | None, set[str]] = defaultdict(set)
    for entry in downloads:
        if entry["status"] == 200 and not entry["fault"]:
            served[entry["task_id"]].add(entry["sha256"])
    return served


def _lost_generations(record: Record) -> Iterator[str]:
    if record.state not in {*FINAL, State.UNCONFIRMED}:
        yield f"{record.id} is still {record.state}"
    if record.state is State.ARCHIVED and record.children != record.follow_ups:
        yield f"{record.id} wants {record.follow_ups} follow-ups and has {record.children}"


def _lost_assets(record: Record, served: set[str], bucket: Path, *, is_paid: bool) -> Iterator[str]:
    """What was paid for must lie in the bucket, byte for byte as the provider has served it."""
    if record.state is State.ARCHIVED:
        if not record.assets:
            yield f"{record.id} is archived without any asset"
        for asset in record.assets:
            if wrong := wrong_bytes(
                bucket, asset.object_key, asset.sha256, {asset.sha256} if record.is_cut else served
            ):
                yield f"{record.id}: asset {asset.index} {wrong}"
    elif is_paid and record.state in FINAL:
        yield f"{record.id} was paid for and is {record.state}"


def wrong_bytes(bucket: Path, key: str | None, sha256: str | None, served: set[str]) -> str | None:
    """What is wrong with an object, if anything; `sha256`: the hash that somebody has written down for it."""
    if key is None or not (bucket / key).is_file():
        return "is not in the bucket"
    found = hashlib.sha256((bucket / key).read_bytes()).hexdigest()
    if sha256 is not None and found != sha256:
        return "has different bytes than were written down"
    return None if found in served else "is not what the provider has served"
