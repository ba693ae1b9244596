"""A person moves a batch: what was never sent goes, and everything else says why it stays."""

import json
from collections import Counter

import pytest
from sqlalchemy import update

from tests.commands import darkroom
from tests.factories import LEASE, PROVIDER, new
from worker.generation import Generation, State
from worker.ledger import Ledger
from worker.ledger.dispatch import Limits
from worker.ledger.schema import batches
from worker.providers import PROVIDERS, provider_class


@pytest.fixture(autouse=True)
def every_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROVIDERS:
        monkeypatch.setenv(provider_class(name).key_setting, "any")


def of_batch(ledger: Ledger, *wanted: dict[str, object]) -> list[Generation]:
    return ledger.generations.create([new(f"fox {n}", **facts) for n, facts in enumerate(wanted)], "animals")  # type: ignore[arg-type]


def test_what_was_never_sent_goes_and_the_others_say_why_they_stay(ledger: Ledger) -> None:
    pan, upscale = {"follow_up": ("pan_left",)}, {"follow_up": ("upscale1",)}
    sent, *_ = of_batch(ledger, {}, {"options": {"seed": 7}}, {}, {"provider": "kie"}, pan, upscale)
    ledger.dispatch.run(PROVIDER, Limits(rate=1, in_flight=1))
    assert [claim.generation.id for claim in ledger.submissions.claim(9, LEASE)] == [sent.id]
    done = darkroom("batch", "move", "animals", "--to", "kie", "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["moved"] == {"kie": 2}
    assert document["left"] == {"already at kie": 1, "cannot be made there": 2, "submitting": 1}
    reasons = {one["reason"]: (one["provider"], one["generations"]) for one in document["inexpressible"]}
    assert set(reasons.values()) == {("kie", 1)}
    assert any("no option 'seed'" in reason for reason in reasons)
    assert Counter(one.provider for one in ledger.generations.page()) == {"kie": 3, PROVIDER: 3}
    moved = next(one for one in ledger.generations.page() if one.prompt == "fox 2")
    assert [(one.left, one.to, one.why) for one in moved.provider_changes] == [
        (PROVIDER, "kie", "its batch was moved by a person")
    ]


def test_each_goes_to_the_first_that_can_make_it_and_keeps_the_others(ledger: Ledger) -> None:
    of_batch(ledger, {"provider": "mjproxy", "options": {"seed": 7}}, {"provider": "mjproxy"})
    done = darkroom("batch", "move", "animals", "--to", "kie,acedata,ohmygpt")
    assert done.stdout == "1 moved to acedata, 1 moved to kie\n"
    found = {one.prompt: (one.provider, one.providers) for one in ledger.generations.page()}
    assert found == {"fox 0": ("acedata", ("ohmygpt",)), "fox 1": ("kie", ("acedata", "ohmygpt"))}
    assert darkroom("batch", "move", "animals", "--to", "kie,acedata,ohmygpt").output.startswith(
        "0 moved; 2 left alone"
    )


def test_a_paused_batch_stays_paused(ledger: Ledger) -> None:
    (fox,) = of_batch(ledger, {})
    with ledger.database.write() as connection:
        connection.execute(update(batches).values(paused_at=ledger.database.clock()))
    assert darkroom("batch", "move", "animals", "--to", "kie").stdout == "1 moved to kie\n"
    assert ledger.generations.get([fox.id])[0].state is State.QUEUED


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("animals", "--to", "kie,kie"), "appears twice"),
        (("animals", "--to", "keie"), "unknown provider 'keie'"),
        (("nothing", "--to", "kie"), "there is no batch 'nothing'"),
    ],
)
def test_a_mistake_moves_nothing(ledger: Ledger, arguments: tuple[str, ...], told: str) -> None:
    of_batch(ledger, {})
    done = darkroom("batch", "move", *arguments)
    assert done.exit_code == 1
    assert told in done.stderr
    assert not any(one.provider_changes for one in ledger.generations.page())
