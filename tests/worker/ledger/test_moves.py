"""The tables of moves of what belongs to a generation, over all pairs of states; and no state without its enum."""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Table, update

from tests.clock import NOON
from tests.factories import LEASE, claimed, delivery, submitted, succeeded
from tests.test_layering import files
from tests.worker.ledger.row_by_row import find_row
from worker.generation import ATTEMPT_MOVES, ENDED_ATTEMPTS, LIVE_ATTEMPTS, AssetState, AttemptState, State, Verdict
from worker.ledger import Ledger
from worker.ledger.assets import ASSETS
from worker.ledger.changes import Changes
from worker.ledger.events import DeliveryFilter
from worker.ledger.events.states import DELIVERIES
from worker.ledger.moves import Machine
from worker.ledger.outcome import VERDICTS
from worker.ledger.schema import LIVE, ChargeState, DeliveryState, attempts, in_states
from worker.ledger.submission.attempts import ATTEMPTS, Attempts


class Case(NamedTuple):
    machine: Machine[Any]
    states: list[StrEnum | None]
    #: makes a row; what names it
    make: Callable[[Ledger], dict[str, Any]]


def an_attempt(ledger: Ledger) -> dict[str, Any]:
    return {"id": claimed(ledger)[0].attempt_id}


def an_asset(ledger: Ledger) -> dict[str, Any]:
    (claim,) = succeeded(ledger)
    return {"generation_id": claim.generation.id, "index": 0}


def a_callback(ledger: Ledger) -> dict[str, Any]:
    ledger.callbacks.store([delivery("a1")])
    (callback,) = ledger.callbacks.claim(1, LEASE)
    return {"id": callback.id}


def a_delivery(ledger: Ledger) -> dict[str, Any]:
    ledger.events.register_subscribers(["shop"])
    submitted(ledger)
    (claim,) = ledger.events.claim(["shop"], 1, LEASE)
    assert ledger.events.enqueue_new(claim, DeliveryFilter())
    delivery = ledger.events.record_and_claim_next(claim, LEASE)
    assert delivery is not None
    return {"subscriber": "shop", "event_id": delivery.event_id}


MACHINES = {
    "attempts": Case(ATTEMPTS, list(AttemptState), an_attempt),
    "assets": Case(ASSETS, list(AssetState), an_asset),
    "deliveries": Case(DELIVERIES, list(DeliveryState), a_delivery),
    "callbacks": Case(VERDICTS, [None, *Verdict], a_callback),
}


@pytest.fixture(params=MACHINES)
def case(request: pytest.FixtureRequest) -> Case:
    return MACHINES[request.param]


def table_of(machine: Machine[Any]) -> Table:
    table = machine.column.table
    assert isinstance(table, Table)
    return table


def put_into(ledger: Ledger, machine: Machine[Any], mine: Mapping[str, Any], state: StrEnum | None) -> None:
    table = table_of(machine)
    with ledger.database.write() as connection:
        here = [table.c[name] == value for name, value in mine.items()]
        connection.execute(update(table).where(*here).values({machine.column: state}))


def state_in(ledger: Ledger, machine: Machine[Any], mine: Mapping[str, Any]) -> str | None:
    with ledger.database.read() as connection:
        row = find_row(connection, table_of(machine), **mine)
    state: str | None = getattr(row, machine.column.name)
    return state


def test_a_row_moves_along_its_table_or_not_at_all(ledger: Ledger, case: Case):
    machine, mine = case.machine, case.make(ledger)
    wrong = []
    for source in case.states:
        for to in case.states:
            put_into(ledger, machine, mine, source)
            with ledger.database.write() as connection:
                moved = machine.move(connection, mine, to)
            allowed = machine.allows(source, to)
            if (moved, state_in(ledger, machine, mine)) != ((1, to) if allowed else (0, source)):
                wrong.append(f"{source} → {to}")
    assert wrong == []


def test_every_state_has_its_line_and_no_move_leads_to_itself(case: Case):
    assert set(case.machine.moves) == set(case.states)
    assert all(to in case.states and to != source for source, reached in case.machine.moves.items() for to in reached)


def test_several_rows_move_with_one_statement_and_the_others_stay(ledger: Ledger):
    first, second, late = (claim.attempt_id for claim in claimed(ledger, 3))
    put_into(ledger, ATTEMPTS, {"id": late}, AttemptState.SUCCEEDED)
    with ledger.database.write() as connection:
        moved = connection.execute(ATTEMPTS.update_to(AttemptState.FAILED).where(attempts.c.id.in_([first, late])))
    assert moved.rowcount == 1
    found = [state_in(ledger, ATTEMPTS, {"id": one}) for one in (first, second, late)]
    assert found == [AttemptState.FAILED, AttemptState.SENDING, AttemptState.SUCCEEDED]


def test_an_attempt_is_either_live_or_ended_or_abandoned():
    assert {*LIVE_ATTEMPTS, *ENDED_ATTEMPTS, AttemptState.ABANDONED} == set(AttemptState)
    # Or a second one could be live beside it.
    assert all(
        source in LIVE_ATTEMPTS for source, reached in ATTEMPT_MOVES.items() for to in reached if to in LIVE_ATTEMPTS
    )


def test_an_attempt_is_asked_for_as_long_as_it_is_live(ledger: Ledger):
    mine = an_attempt(ledger)
    for to in ATTEMPT_MOVES[AttemptState.SENDING]:
        put_into(ledger, ATTEMPTS, mine, AttemptState.SENDING)
        with ledger.database.write() as connection:
            connection.execute(update(attempts).values(poll_at=NOON))
            changes = Changes(connection, NOON)
            assert Attempts(changes, [mine["id"]]).move(mine["id"], to)
            changes.flush()
            found = find_row(connection, attempts, **mine)
        assert found.poll_at == (NOON if to in LIVE_ATTEMPTS else None), to


#: words that are no states where they stand: reasons and causes of a generation's move
OTHER_WORDS = {
    "changes.py: possible",
    "control.py: cancelled",
    "marks.py: rejected",
    "reopening.py: cancelled",
    "reviewing.py: waiting",
    "outcomes.py: failed",
    "submissions.py: rejected",
}
#: who sets states without an UPDATE of a `Machine`: that of generations that are claimed, and what `KEPT` writes; and
#: marks, whose verdicts may follow each other in any order
OTHER_MACHINES = {"attempts.py": 1, "submissions.py": 1, "marks.py": 1}
#: who writes changes of many rows at once, and asks a table of moves before; but charges follow their attempts
KEPT = {"changes.py": 1, "attempts.py": 1, "outcomes.py": 1, "recording.py": 1, "charges.py": 2, "bulk.py": 1,
        "failover.py": 1, "reopening.py": 1}  # fmt: skip
_STATES = {member.value for states in (State, AttemptState, AssetState, Verdict, DeliveryState, ChargeState)
           for member in states}  # fmt: skip


def of_the_ledger() -> Iterator[tuple[str, ast.Module]]:
    for path in files("worker/ledger"):
        if "versions" not in path.parts:
            yield path.name, ast.parse(path.read_text())


def called(node: ast.AST) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


def test_the_ledger_writes_no_state_as_a_bare_word():
    found = set()
    for name, module in of_the_ledger():
        enums = [node for node in ast.walk(module) if isinstance(node, ast.ClassDef) and "StrEnum" in ast.dump(node)]
        members = {id(node) for enum in enums for node in ast.walk(enum)}
        found |= {
            f"{name}: {node.value}"
            for node in ast.walk(module)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in members
            if node.value in _STATES or re.search(r"(state|verdict) (=|<>|IN) ?\(?'", node.value)
        }
    assert found == OTHER_WORDS


def test_no_statement_changes_a_state_beside_the_machines():
    found = Counter(
        name
        for name, module in of_the_ledger()
        for node in ast.walk(module)
        if isinstance(node, ast.Call)
        and {word.arg for word in node.keywords} & {"state", "verdict"}
        and ("update" in called(node) or called(node) == "mine.values")
    )
    assert found == OTHER_MACHINES
    writers = ("updates.set", "update_rows")
    kept = Counter(
        name for name, module in of_the_ledger() for node in ast.walk(module) if called(node).endswith(writers)
    )
    assert kept == KEPT


@pytest.mark.parametrize(
    ("states", "condition"),
    [
        ([], "1 = 0"),
        ([AttemptState.SENDING], "state = 'sending'"),
        (LIVE_ATTEMPTS, LIVE),
        ([None], "state IS NULL"),
        ([None, *LIVE_ATTEMPTS], f"(state IS NULL OR {LIVE})"),
    ],
)
def test_conditions_say_what_the_indexes_say(states: list[StrEnum | None], condition: str):
    assert in_states("state", states) == condition
