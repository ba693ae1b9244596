"""What alerts and board select by label is there in a scrape: bounds of histograms, kinds, reasons, steps, states."""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tasks.usecases import metrics
from tests.clock import FakeClock
from tests.factories import LEASE, PLENTY, all_stored, queued, succeeded
from tests.monitoring import board_expressions, rules
from webhook.api.app import create_app
from worker.ledger import Ledger
from worker.ledger.maintenance import Tally, TallyKey
from worker.services import Services
from worker.wakeup import Waiting

PRICES = 'currency: EUR\nprices: [{price: "2.50"}]\ncaps: {day: "100"}\n'
_SELECTOR = re.compile(r"\b(darkroom_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_HOLDS: Mapping[str, Callable[[str, str], bool]] = {
    "=": lambda label, wanted: label == wanted,
    "!=": lambda label, wanted: label != wanted,
    "=~": lambda label, wanted: re.fullmatch(wanted, label) is not None,
    "!~": lambda label, wanted: re.fullmatch(wanted, label) is None,
}


def selectors() -> list[str]:
    asked = [rule["expr"] for rule in rules()] + board_expressions()
    every = {found[0] for one in asked for found in _SELECTOR.finditer(re.sub(r"darkroom:[\w:]+", "", one))}
    return sorted(every)


@pytest.fixture
def scraped(
    ledger: Ledger, clock: FakeClock, services_for: Callable[..., Services], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[Sample]:  # fmt: skip
    """A scrape of a Darkroom in which everything has happened once."""
    (tmp_path / "prices.yaml").write_text(PRICES)
    here = services_for(darkroom_prices=tmp_path / "prices.yaml")
    succeeded(ledger)
    ledger.assets.record([all_stored(claim) for claim in ledger.assets.claim(9, LEASE)])
    queued(ledger)
    ledger.dispatch.run("acedata", PLENTY, here.prices)
    ledger.dispatch.pause_account("acedata", "default", PLENTY, "ada@example.com")
    for process in ("worker.1@h", "clock.2@h"):
        ledger.maintenance.beat(process, 1)
    told = {TallyKey(Tally.ANSWERS, "", "503"): 1, TallyKey(Tally.ANSWERS, "", "200"): 1}
    ledger.maintenance.report("receiver.3@h", 3, {**told, TallyKey(Tally.ACKNOWLEDGED, "", "0.25"): 1})
    ledger.maintenance.note_pruned(clock() - timedelta(days=30))
    monkeypatch.setattr(metrics, "waiting", lambda: {"quick": Waiting(1, ())})
    monkeypatch.setattr(metrics, "requests_waiting", lambda: 1)
    answer = create_app(here).test_client().get("/metrics", base_url="http://127.0.0.1:8001")
    return [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]


#: only on PostgreSQL
ELSEWHERE = {"darkroom_table_bytes"}


def test_each_selector_finds_something(scraped: list[Sample]) -> None:
    assert [one for one in selectors() if one not in ELSEWHERE and not any(matches(one, scraped))] == []


def test_each_word_of_a_choice_is_a_label_that_there_is(scraped: list[Sample]) -> None:
    for one in selectors():
        found = _SELECTOR.fullmatch(one)
        assert found is not None
        for name, operator, choice in _MATCHER.findall(found[2] or ""):
            words = choice.split("|") if operator in {"=~", "!~"} and "." not in choice else []
            for word in [*words, *([choice] if operator in {"=", "!="} else [])]:
                assert any(matches(f'{found[1]}{{{name}="{word}"}}', scraped)), (one, word)


def matches(selector: str, samples: Iterable[Sample]) -> Iterable[Sample]:
    found = _SELECTOR.fullmatch(selector)
    assert found is not None
    wanted = _MATCHER.findall(found[2] or "")
    return (
        one
        for one in samples
        if one.name == found[1]
        and all(_HOLDS[operator](one.labels.get(name, ""), value) for name, operator, value in wanted)
    )
