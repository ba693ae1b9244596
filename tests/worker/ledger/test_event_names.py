"""The names of events are public: subscribers select them by pattern, so a name never changes once it is released."""

import ast
import re
from pathlib import Path

import worker.ledger

#: a new one needs a sentence in `CHANGELOG.md`
NAMES = {
    *(
        "generation.submitted",
        "generation.progress",
        "generation.succeeded",
        "generation.failed",
        "generation.unconfirmed",
    ),
    *(
        "generation.archived",
        "generation.expired",
        "generation.deleted",
        "generation.paid_twice",
        "generation.needs_approval",
    ),
    *("generation.resolved", "generation.imported", "follow_up.refused", "follow_up.dismissed"),
    *("asset.archived", "asset.at_risk", "asset.expired", "asset.accepted", "asset.repaired"),
    *("batch.completed", "budget.exceeded", "budget.late_charge"),
    *("provider.paused", "provider.resumed", "provider.circuit_opened", "submissions.paused", "submissions.resumed"),
    "subscriber.disabled",
}
_NAME = re.compile(rf"(?:{'|'.join({name.partition('.')[0] for name in NAMES} | {'gate'})})\.[a-z_]+")


def test_events_have_the_published_names() -> None:
    found = set()
    for path in Path(worker.ledger.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _NAME.fullmatch(node.value):
                found.add(node.value)
    assert found == NAMES
